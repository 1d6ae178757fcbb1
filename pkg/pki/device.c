/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's chain: five certificates whose names must all speak of one chip family, and whose second
 * one says which device it is.
 */
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "pki/internal.h"

static const uint8_t oid_san[] = { 0x55, 0x1d, 0x11 };
static const uint8_t oid_device_san[] = { 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0x1c, 0x82, 0x12, 0x01 };

/* First byte of certificate 1's serial number; the PDI follows. */
#define SERIAL_GPU    0x41
#define SERIAL_SWITCH 0x50

static const struct family {
	const char *name;
	const char *identity; /* in the subject of certificate 3; Hopper's also stands above LS10 */
	uint8_t serial_type;
} families[PKI_N_FAMILIES] = {
	[PKI_GH100] = { "GH100", "GH100 Identity", SERIAL_GPU },
	[PKI_GB100] = { "GB100", "GB100 Identity", SERIAL_GPU },
	[PKI_LS10] = { "LS_10", "GH100 Identity", SERIAL_SWITCH },
};

const char *pki_family_name(enum pki_family family)
{
	return (size_t)family < PKI_N_FAMILIES ? families[family].name : "unknown";
}

static int device_parse(struct rd pem, struct pki_device *d, struct err *err)
{
	size_t n = 0;

	if (pem.left > PKI_CHAIN_MAX_BYTES)
		return pki_refuse(err, PKI_CHAIN_LENGTH, "the chain has %zu bytes, more than %d", pem.left,
				  PKI_CHAIN_MAX_BYTES);
	for (;;) {
		char which[32];
		X509 *x;

		snprintf(which, sizeof(which), "certificate %zu", n);
		if (pki_cert_of_pem(&pem, which, &x, err) < 0)
			return -1;
		if (!x)
			break;
		if (n < PKI_DEVICE_CERTS)
			d->cert[n] = x;
		else
			X509_free(x);
		n++;
	}
	if (n == 0)
		return pki_refuse(err, PKI_CHAIN_FORMAT, "no certificate");
	if (n != PKI_DEVICE_CERTS)
		return pki_refuse(err, PKI_CHAIN_LENGTH, "%zu certificates, not %d", n, PKI_DEVICE_CERTS);
	return 0;
}

/* The word before the first blank of the leaf's name. */
static bool family_of_leaf(const X509 *leaf, enum pki_family *out)
{
	char cn[PKI_TEXT_SIZE];

	if (!pki_cert_cn(leaf, cn))
		return false;
	for (size_t i = 0; i < PKI_N_FAMILIES; i++) {
		size_t n = strlen(families[i].name);

		if (str_starts(cn, families[i].name) && cn[n] == ' ') {
			*out = (enum pki_family)i;
			return true;
		}
	}
	return false;
}

/* The words stand in its common name, after whoever's name comes first. */
static bool cn_says(const X509 *x, const char *words)
{
	char cn[PKI_TEXT_SIZE];
	const char *at = pki_cert_cn(x, cn) ? strstr(cn, words) : NULL;
	char after = at ? at[strlen(words)] : '?';

	return at && at > cn && at[-1] == ' ' && (after == ' ' || after == '\0');
}

/* "NVIDIA:<family>:<16 hex digits>" in the one otherName that the subject alternative name consists of. */
static bool san_names(const X509 *leaf, const char *family)
{
	struct rd ext, names, other, oid, wrapped, text;
	char want[PKI_TEXT_SIZE];
	size_t n = (size_t)snprintf(want, sizeof(want), "NVIDIA:%s:", family);

	if (!pki_cert_extension(leaf, oid_san, sizeof(oid_san), &ext) ||
	    !der_take(&ext, DER_SEQUENCE, &names) || !rd_end(&ext) ||
	    !der_take(&names, DER_CONTEXT_LIST(0), &other) || !rd_end(&names) ||
	    !der_take(&other, DER_OID, &oid) || !rd_equal(&oid, oid_device_san, sizeof(oid_device_san)) ||
	    !der_take(&other, DER_CONTEXT_LIST(0), &wrapped) || !rd_end(&other) ||
	    !der_take(&wrapped, DER_UTF8, &text) || !rd_end(&wrapped))
		return false;
	if (text.left != n + 2 * PKI_PDI_BYTES || memcmp(text.p, want, n) != 0)
		return false;
	for (size_t i = n; i < text.left; i++)
		if (OPENSSL_hexchar2int(text.p[i]) < 0)
			return false;
	return true;
}

static int family_check(struct pki_device *d, struct err *err)
{
	char start[PKI_TEXT_SIZE], provisioner[PKI_TEXT_SIZE];
	const char *family;

	if (!family_of_leaf(d->cert[0], &d->family))
		return pki_refuse(err, PKI_CHAIN_FAMILY, "certificate 0 names no chip family that we know");
	family = families[d->family].name;
	snprintf(start, sizeof(start), "%s ", family);
	snprintf(provisioner, sizeof(provisioner), "%s Provisioner ICA", family);
	if (!pki_cert_cn(d->cert[1], d->model) || !str_starts(d->model, start))
		return pki_refuse(err, PKI_CHAIN_FAMILY, "certificate 1 is not of %s", family);
	if (!cn_says(d->cert[2], provisioner))
		return pki_refuse(err, PKI_CHAIN_FAMILY, "certificate 2 is not the provisioner of %s", family);
	if (!cn_says(d->cert[3], families[d->family].identity))
		return pki_refuse(err, PKI_CHAIN_FAMILY, "certificate 3 is not %s",
				  families[d->family].identity);
	if (!san_names(d->cert[0], family))
		return pki_refuse(err, PKI_CHAIN_FAMILY,
				  "certificate 0: its alternative name is no device of %s", family);
	return 0;
}

static bool serial_decimal(const X509 *x, char out[PKI_TEXT_SIZE])
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *text = n && !BN_is_negative(n) ? BN_bn2dec(n) : NULL;
	bool fits = text && str_copy(out, PKI_TEXT_SIZE, text);

	OPENSSL_free(text);
	BN_free(n);
	return fits;
}

static int identity_read(struct pki_device *d, struct err *err)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(d->cert[1]);
	const uint8_t *p = ASN1_STRING_get0_data(serial);

	if (ASN1_STRING_type(serial) != V_ASN1_INTEGER ||
	    ASN1_STRING_length(serial) != 1 + PKI_PDI_BYTES || p[0] != families[d->family].serial_type)
		return pki_refuse(err, PKI_CHAIN_IDENTITY,
				  "certificate 1: its serial number is no %s's identity",
				  d->family == PKI_LS10 ? "switch" : "GPU");
	memcpy(d->pdi, p + 1, PKI_PDI_BYTES);
	if (!serial_decimal(d->cert[0], d->ueid))
		return pki_refuse(err, PKI_CHAIN_IDENTITY, "certificate 0: its serial number is out of range");
	d->is_switch = d->family == PKI_LS10;
	return 0;
}

int pki_device_verify(struct rd pem, const struct pki_anchor *anchor, int64_t now,
		      struct pki_device **out, struct err *err)
{
	static const struct chain_words words = {
		.link = PKI_CHAIN_LINK,
		.root = PKI_CHAIN_ROOT,
		.algorithm = PKI_CHAIN_ALGORITHM,
		.constraints = PKI_CHAIN_CONSTRAINTS,
		.time = PKI_CHAIN_TIME,
		.what = "certificate",
		.leaf_signs_only = true,
	};
	AUTO(pki_device_free) struct pki_device *d = calloc(1, sizeof(*d));

	if (!d)
		return err_nomem(err);
	if (device_parse(pem, d, err) < 0 ||
	    pki_chain_verify(d->cert, PKI_DEVICE_CERTS, anchor, now, &words, err) < 0 ||
	    family_check(d, err) < 0 || identity_read(d, err) < 0 ||
	    pki_fwid_read(d->cert[0], d->cert[1], d->family, d->fwid, err) < 0)
		return -1;
	d->anchor_named = anchor->named_by_operator;
	d->not_after = pki_chain_not_after(d->cert, PKI_DEVICE_CERTS);
	*out = TAKE_PTR(d);
	return 0;
}

void pki_device_free(struct pki_device *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < PKI_DEVICE_CERTS; i++)
		X509_free(d->cert[i]);
	free(d);
}

EVP_PKEY *pki_device_key(const struct pki_device *d)
{
	return X509_get0_pubkey(d->cert[0]);
}
