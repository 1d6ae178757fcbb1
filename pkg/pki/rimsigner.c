/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who signed a reference value: three certificates below the RIM root, of which the middle ones say for
 * which chip family they vouch.
 */
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "pki/internal.h"

#define CN_BEFORE    " Reference Value " /* after whoever's name comes first */
#define CN_BEFORE_L3 CN_BEFORE "L3 "

/* As certificates 1 (L3) and 2 (the family's CA) spell them, up to the next blank. */
static const struct {
	const char *word;
	enum pki_family family;
} words[] = {
	{ "GH100", PKI_GH100 }, { "GB100-CC", PKI_GB100 }, { "GB1XX", PKI_GB100 },
	{ "GB100", PKI_GB100 }, { "LS10", PKI_LS10 },	   { "LS_10", PKI_LS10 },
};

static bool family_after(const X509 *x, const char *before, enum pki_family *out)
{
	char cn[PKI_TEXT_SIZE];
	const char *rest = pki_cert_cn(x, cn) ? strstr(cn, before) : NULL;

	if (!rest)
		return false;
	rest += strlen(before);
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (str_starts(rest, words[i].word) && rest[strlen(words[i].word)] == ' ') {
			*out = words[i].family;
			return true;
		}
	}
	return false;
}

static int family_read(struct pki_rim_signer *s, struct err *err)
{
	enum pki_family ca;

	if (!family_after(s->cert[1], CN_BEFORE_L3, &s->family))
		return pki_refuse(err, PKI_RIM_CHAIN, "RIM certificate 1 names no chip family that we know");
	if (!family_after(s->cert[2], CN_BEFORE, &ca) || ca != s->family)
		return pki_refuse(err, PKI_RIM_CHAIN, "RIM certificates 1 and 2 vouch for different families");
	return 0;
}

static int signer_parse(const struct rd *der, size_t n, const struct pki_anchor *anchor,
			struct pki_rim_signer *s, struct err *err)
{
	if (n != PKI_RIM_CERTS && n != PKI_RIM_CERTS - 1)
		return pki_refuse(err, PKI_RIM_CHAIN, "%zu RIM certificates, not %d or %d", n,
				  PKI_RIM_CERTS - 1, PKI_RIM_CERTS);
	for (size_t i = 0; i < n; i++) {
		char which[32];

		snprintf(which, sizeof(which), "RIM certificate %zu", i);
		if (pki_cert_of_der(der[i], PKI_RIM_CHAIN, which, &s->cert[i], err) < 0)
			return -1;
	}
	if (n < PKI_RIM_CERTS) {
		X509_up_ref(anchor->cert);
		s->cert[n] = anchor->cert;
	}
	return 0;
}

int pki_rim_signer_verify(const struct rd *der, size_t n, const struct pki_anchor *anchor, int64_t now,
			  struct pki_rim_signer **out, struct err *err)
{
	static const struct chain_words chain = {
		.link = PKI_RIM_CHAIN,
		.root = PKI_RIM_CHAIN,
		.algorithm = PKI_RIM_CHAIN,
		.constraints = PKI_RIM_CHAIN,
		.time = PKI_RIM_TIME,
		.what = "RIM certificate",
	};
	AUTO(pki_rim_signer_free) struct pki_rim_signer *s = calloc(1, sizeof(*s));

	if (!s)
		return err_nomem(err);
	if (signer_parse(der, n, anchor, s, err) < 0 ||
	    pki_chain_verify(s->cert, PKI_RIM_CERTS, anchor, now, &chain, err) < 0 ||
	    family_read(s, err) < 0)
		return -1;
	s->anchor_named = anchor->named_by_operator;
	s->not_after = pki_chain_not_after(s->cert, PKI_RIM_CERTS);
	*out = TAKE_PTR(s);
	return 0;
}

void pki_rim_signer_free(struct pki_rim_signer *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < PKI_RIM_CERTS; i++)
		X509_free(s->cert[i]);
	free(s);
}

EVP_PKEY *pki_rim_signer_key(const struct pki_rim_signer *s)
{
	return X509_get0_pubkey(s->cert[0]);
}
