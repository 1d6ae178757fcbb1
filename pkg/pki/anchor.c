/* SPDX-License-Identifier: Apache-2.0 */
/* Anchors: the two that are built in, and those that an operator names. */
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "pki/internal.h"

int pki_anchor_builtin(enum pki_root which, struct pki_anchor *out, struct err *err)
{
	*out = (struct pki_anchor){ .cert = NULL };
	return pki_cert_of_der(pki_root_der(which), PKI_CHAIN_ROOT, "the built-in root", &out->cert, err);
}

static const char *anchor_fault(X509 *x)
{
	uint32_t flags = X509_get_extension_flags(x);

	if (!pki_cert_is_p384(x))
		return "its key is not on P-384";
	if (flags & EXFLAG_INVALID || !(flags & EXFLAG_SI))
		return "it is not issued by itself";
	if (!(flags & EXFLAG_CA) || !(X509_get_key_usage(x) & KU_KEY_CERT_SIGN))
		return "it is no CA";
	return NULL;
}

int pki_anchor_load(struct rd pem, struct pki_anchor *out, struct err *err)
{
	X509 *x = NULL, *more = NULL;
	const char *fault;

	*out = (struct pki_anchor){ .cert = NULL };
	if (pki_cert_of_pem(&pem, "the root", &x, err) < 0)
		return -1;
	if (!x)
		return pki_refuse(err, PKI_CHAIN_ROOT, "no certificate to trust");
	fault = anchor_fault(x);
	if (!fault && (pki_cert_of_pem(&pem, "what follows the root", &more, err) < 0 || more))
		fault = "something follows it";
	X509_free(more);
	if (fault) {
		X509_free(x);
		err_clear(err);
		return pki_refuse(err, PKI_CHAIN_ROOT, "the root: %s", fault);
	}
	*out = (struct pki_anchor){ .cert = x, .named_by_operator = true };
	return 0;
}

void pki_anchor_clear(struct pki_anchor *a)
{
	X509_free(a->cert);
	*a = (struct pki_anchor){ .cert = NULL };
}
