/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FWID in a device's leaf: which firmware holds the key that signs reports.  Two shapes: a composite
 * device id of Hopper and LS10 (2.23.133.5.4.1) and TCG's TcbInfo of Blackwell (2.23.133.5.4.1.1).
 */
#include <openssl/x509.h>
#include <string.h>

#include "pki/internal.h"

static const uint8_t oid_composite[] = { 0x67, 0x81, 0x05, 0x05, 0x04, 0x01 };
static const uint8_t oid_tcb_info[] = { 0x67, 0x81, 0x05, 0x05, 0x04, 0x01, 0x01 };
static const uint8_t oid_sha384[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02 };

/* SEQUENCE { OID sha384, OCTET STRING of 48 } */
static bool digest_take(struct rd *in, uint8_t out[PKI_FWID_BYTES])
{
	struct rd pair, oid, value;

	if (!der_take(in, DER_SEQUENCE, &pair) || !der_take(&pair, DER_OID, &oid) ||
	    !rd_equal(&oid, oid_sha384, sizeof(oid_sha384)) || !der_take(&pair, DER_OCTETS, &value) ||
	    !rd_end(&pair) || value.left != PKI_FWID_BYTES)
		return false;
	memcpy(out, value.p, PKI_FWID_BYTES);
	return true;
}

static bool spki_is_of(const struct rd *spki, const X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	bool same = n > 0 && rd_equal(spki, der, (size_t)n);

	OPENSSL_free(der);
	return same;
}

/* SEQUENCE { INTEGER 1, SubjectPublicKeyInfo of the issuer, digest } */
static const char *composite_fault(struct rd in, const X509 *issuer, uint8_t out[PKI_FWID_BYTES])
{
	struct rd list, version, spki;

	if (!der_take(&in, DER_SEQUENCE, &list) || !rd_end(&in) ||
	    !der_take(&list, DER_INTEGER, &version) || !rd_equal(&version, "\1", 1) ||
	    !der_take_whole(&list, DER_SEQUENCE, &spki) || !digest_take(&list, out) || !rd_end(&list))
		return "the DICE extension is malformed";
	if (!spki_is_of(&spki, issuer))
		return "the key in the DICE extension is not that of certificate 1";
	return NULL;
}

/* One or more digests; the first counts. */
static bool digests_read(struct rd in, uint8_t out[PKI_FWID_BYTES])
{
	uint8_t other[PKI_FWID_BYTES];

	if (!digest_take(&in, out))
		return false;
	while (!rd_end(&in))
		if (!digest_take(&in, other))
			return false;
	return true;
}

enum { TCB_VENDOR, TCB_MODEL, TCB_FWIDS = 6, TCB_LAST = 9 };

/* SEQUENCE of [0] vendor to [9] type, each optional, in order. */
static const char *tcb_info_fault(struct rd in, const char *family, uint8_t out[PKI_FWID_BYTES])
{
	struct rd list, value[TCB_LAST + 1] = { 0 };
	const struct rd *model = &value[TCB_MODEL];
	size_t n = strlen(family);

	if (!der_take(&in, DER_SEQUENCE, &list) || !rd_end(&in))
		return "the TcbInfo extension is malformed";
	for (uint8_t i = 0; i <= TCB_LAST; i++) {
		uint8_t tag = (uint8_t)(i == TCB_FWIDS ? DER_CONTEXT_LIST(i) : DER_CONTEXT(i));

		if (list.left && *list.p == tag && !der_take(&list, tag, &value[i]))
			return "the TcbInfo extension is malformed";
	}
	if (!rd_end(&list))
		return "the TcbInfo extension is malformed";
	if (!rd_equal(&value[TCB_VENDOR], "NVIDIA", 6))
		return "the vendor in the TcbInfo extension is not NVIDIA";
	if (model->left < n + 1 || memcmp(model->p, family, n) != 0 || model->p[n] != ' ')
		return "the model in the TcbInfo extension is of another family";
	if (!digests_read(value[TCB_FWIDS], out))
		return "the TcbInfo extension has no SHA-384 FWID";
	return NULL;
}

int pki_fwid_read(const X509 *leaf, const X509 *issuer, enum pki_family family,
		  uint8_t out[PKI_FWID_BYTES], struct err *err)
{
	static const uint8_t zero[PKI_FWID_BYTES];
	struct rd composite, tcb;
	bool has_composite = pki_cert_extension(leaf, oid_composite, sizeof(oid_composite), &composite);
	bool has_tcb = pki_cert_extension(leaf, oid_tcb_info, sizeof(oid_tcb_info), &tcb);
	bool wants_tcb = family == PKI_GB100;
	const char *fault;

	if (has_composite == wants_tcb || has_tcb != wants_tcb)
		return pki_refuse(err, PKI_FWID, "certificate 0 has %s DICE extension",
				  has_composite || has_tcb ? "another family's" : "no");
	fault = wants_tcb ? tcb_info_fault(tcb, pki_family_name(family), out)
			  : composite_fault(composite, issuer, out);
	if (!fault && memcmp(out, zero, sizeof(zero)) == 0)
		fault = "the FWID is zero";
	return fault ? pki_refuse(err, PKI_FWID, "certificate 0: %s", fault) : 0;
}
