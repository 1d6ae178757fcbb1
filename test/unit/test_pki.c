/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each rule about a chain is a row, on chains that are made here with one fault each; genuine chains
 * verify under the built-in roots, and only under those.
 */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

#include "own_pki.h"
#include "pki/pki.h"
#include "table.h"
#include "vectors.h"

#define AUTO_CHAIN  CLEANUP(own_chain_clear) struct own_chain
#define AUTO_ANCHOR CLEANUP(pki_anchor_clear) struct pki_anchor

/* PKI_OK or the reason of the refusal. */
static enum pki_reason judge(const char *pem, const struct pki_anchor *anchor, int64_t now,
			     struct pki_device **out, struct err *err)
{
	if (pki_device_verify(rd_of(pem, strlen(pem)), anchor, now, out, err) == 0) {
		cr_assert(*out);
		return PKI_OK;
	}
	cr_assert(!*out);
	cr_assert(err->kind == ERR_INVALID || err->kind == ERR_UNTRUSTED, "%s", err_text(err));
	cr_assert_neq(err->code, PKI_OK);
	cr_assert_eq(ERR_peek_error(), 0, "OpenSSL's queue is not empty after: %s", err_text(err));
	return (enum pki_reason)err->code;
}

#define ASSERT_REASON(got, want, name)                                                             \
	cr_assert_eq(got, want, "%s: %s, not %s: %s", name, pki_reason_word(got),                  \
		     pki_reason_word(want), err_text(&err))

static struct pki_anchor anchor_of(const struct own_chain *c)
{
	AUTO_MEM char *pem = own_pem(c, c->n - 1, c->n);
	struct err err = ERR_INIT;
	struct pki_anchor a;

	cr_assert_eq(pki_anchor_load(rd_of(pem, strlen(pem)), &a, &err), 0, "%s", err_text(&err));
	return a;
}

/* --- device chains, one fault each ----------------------------------------------------------- */

static const struct {
	const char *family;
	enum own_fault fault;
	enum pki_reason reason;
	const char *says;
} faults[] = {
	{ "GH100", OWN_GOOD, PKI_OK, "" },
	{ "GB100", OWN_GOOD, PKI_OK, "" },
	{ "LS_10", OWN_GOOD, PKI_OK, "" },
	{ "GH100", OWN_NO_AKI, PKI_CHAIN_LINK, "certificate 2: its authority key id" },
	{ "GH100", OWN_WRONG_AKI, PKI_CHAIN_LINK, "certificate 1: its authority key id" },
	{ "GH100", OWN_NAME_CASE, PKI_CHAIN_LINK, "certificate 1: its issuer" },
	{ "GH100", OWN_LEAF_P256, PKI_CHAIN_ALGORITHM, "certificate 0: its key" },
	{ "GH100", OWN_SHA256, PKI_CHAIN_ALGORITHM, "certificate 1: not signed with" },
	{ "GH100", OWN_WRONG_SIGNER, PKI_CHAIN_LINK, "certificate 0: not signed by" },
	{ "GH100", OWN_IK_NOT_CA, PKI_CHAIN_CONSTRAINTS, "certificate 1: an issuer that is no CA" },
	{ "GH100", OWN_IK_NO_CERTSIGN, PKI_CHAIN_CONSTRAINTS, "certificate 1: key usage without" },
	{ "GH100", OWN_LEAF_CA, PKI_CHAIN_CONSTRAINTS, "certificate 0: a leaf that is a CA" },
	{ "GH100", OWN_LEAF_NO_USAGE, PKI_CHAIN_CONSTRAINTS, "certificate 0: key usage without" },
	{ "GH100", OWN_LEAF_TWO_USAGES, PKI_CHAIN_CONSTRAINTS, "certificate 0: key usage beyond" },
	{ "GH100", OWN_CRITICAL, PKI_CHAIN_CONSTRAINTS, "certificate 0: an unknown critical" },
	{ "GH100", OWN_NAME_CONSTRAINTS, PKI_CHAIN_CONSTRAINTS, "certificate 2: an unknown critical" },
	{ "GH100", OWN_EXTENSION_TWICE, PKI_CHAIN_CONSTRAINTS, "certificate 3: the same extension" },
	{ "GH100", OWN_PATHLEN, PKI_CHAIN_CONSTRAINTS, "certificate 3: more CAs below" },
	{ "GH100", OWN_VERSION_1, PKI_CHAIN_LINK, "certificate 0" },
	{ "GH100", OWN_EXPIRED, PKI_CHAIN_TIME, "certificate 2 has expired" },
	{ "GH100", OWN_ENDS_NOW, PKI_OK, "" },
	{ "GH100", OWN_NOT_YET, PKI_CHAIN_TIME, "certificate 3 is not valid yet" },
	{ "GH100", OWN_FAMILY_LEAF, PKI_CHAIN_FAMILY, "certificate 1 is not of LS_10" },
	{ "LS_10", OWN_FAMILY_LEAF, PKI_CHAIN_FAMILY, "certificate 1 is not of GH100" },
	{ "GH100", OWN_FAMILY_UNKNOWN, PKI_CHAIN_FAMILY, "certificate 0 names no chip family" },
	{ "GH100", OWN_FAMILY_IK, PKI_CHAIN_FAMILY, "certificate 1 is not of GH100" },
	{ "GB100", OWN_FAMILY_ICA, PKI_CHAIN_FAMILY, "certificate 2 is not the provisioner" },
	{ "GB100", OWN_FAMILY_IDENTITY, PKI_CHAIN_FAMILY, "certificate 3 is not GB100 Identity" },
	{ "LS_10", OWN_FAMILY_IDENTITY, PKI_CHAIN_FAMILY, "certificate 3 is not GH100 Identity" },
	{ "GH100", OWN_FAMILY_SAN, PKI_CHAIN_FAMILY, "its alternative name" },
	{ "GH100", OWN_NO_SAN, PKI_CHAIN_FAMILY, "its alternative name" },
	{ "GH100", OWN_SAN_SHORT, PKI_CHAIN_FAMILY, "its alternative name" },
	{ "GH100", OWN_SAN_TWO, PKI_CHAIN_FAMILY, "its alternative name" },
	{ "GH100", OWN_SERIAL_TYPE, PKI_CHAIN_IDENTITY, "no GPU's identity" },
	{ "LS_10", OWN_SERIAL_TYPE, PKI_CHAIN_IDENTITY, "no switch's identity" },
	{ "GH100", OWN_SERIAL_SHORT, PKI_CHAIN_IDENTITY, "no GPU's identity" },
	{ "GH100", OWN_NO_FWID, PKI_FWID, "has no DICE extension" },
	{ "GB100", OWN_NO_FWID, PKI_FWID, "has no DICE extension" },
	{ "GH100", OWN_FWID_OTHER_SHAPE, PKI_FWID, "another family's DICE extension" },
	{ "GB100", OWN_FWID_OTHER_SHAPE, PKI_FWID, "another family's DICE extension" },
	{ "GB100", OWN_FWID_BOTH, PKI_FWID, "another family's DICE extension" },
	{ "LS_10", OWN_FWID_BOTH, PKI_FWID, "another family's DICE extension" },
	{ "GH100", OWN_FWID_OTHER_KEY, PKI_FWID, "not that of certificate 1" },
	{ "GH100", OWN_FWID_SHA256, PKI_FWID, "malformed" },
	{ "GH100", OWN_FWID_SHORT, PKI_FWID, "malformed" },
	{ "GH100", OWN_FWID_TRAILING, PKI_FWID, "malformed" },
	{ "GH100", OWN_FWID_ZERO, PKI_FWID, "is zero" },
	{ "GB100", OWN_FWID_SHA256, PKI_FWID, "no SHA-384 FWID" },
	{ "GB100", OWN_FWID_SHORT, PKI_FWID, "no SHA-384 FWID" },
	{ "GB100", OWN_FWID_TRAILING, PKI_FWID, "malformed" },
	{ "GB100", OWN_FWID_ZERO, PKI_FWID, "is zero" },
	{ "GB100", OWN_FWID_VENDOR, PKI_FWID, "vendor" },
	{ "GB100", OWN_FWID_MODEL, PKI_FWID, "model" },
	{ "GB100", OWN_FWID_ORDER, PKI_FWID, "malformed" },
	{ "GB100", OWN_FWID_NONE, PKI_FWID, "no SHA-384 FWID" },
};

TABLE_TEST(pki, device_chains_keep_every_rule, faults)
{
	AUTO(pki_device_free) struct pki_device *d = NULL;
	struct err err = ERR_INIT;
	AUTO_CHAIN c;
	AUTO_ANCHOR anchor = { .cert = NULL };
	AUTO_MEM char *pem = NULL;
	char name[64];
	enum pki_reason got;

	own_device_chain(&c, row->family, row->fault);
	anchor = anchor_of(&c);
	pem = own_pem(&c, 0, c.n);
	got = judge(pem, &anchor, OWN_NOW, &d, &err);
	snprintf(name, sizeof(name), "%s, fault %d", row->family, row->fault);
	ASSERT_REASON(got, row->reason, name);
	cr_assert(strstr(err_text(&err), row->says), "%s: %s", name, err_text(&err));
	if (got != PKI_OK)
		return;
	cr_assert_str_eq(pki_family_name(d->family), row->family);
	cr_assert_eq(d->is_switch, d->family == PKI_LS10);
	cr_assert(d->anchor_named);
	cr_assert_eq(memcmp(d->pdi, d->is_switch ? "\x20\x3e\xb3\x1a\xd9\xed\x00\x08"
						 : "\x43\x1d\x48\x0f\xe5\xe8\x72\x74", 8), 0);
	cr_assert_eq(d->fwid[0], 'f');
	cr_assert_str_eq(d->ueid, "478176379286082186618948445787393647364802107249");
	cr_assert_eq(EVP_PKEY_eq(pki_device_key(d), c.key[0]), 1);
	cr_assert(d->not_after == (row->fault == OWN_ENDS_NOW ? OWN_NOW : INT64_C(253402300799)));
}

/* --- PEM ------------------------------------------------------------------------------------- */

static char *spoiled(const char *pem, const char *how)
{
	char *s = calloc(1, strlen(pem) + 64);
	char *body;

	cr_assert(s);
	strcpy(s, pem);
	body = strchr(s, '\n') + 1;
	if (!strcmp(how, "text before"))
		memmove(s + 2, s, strlen(s) + 1), memcpy(s, "x\n", 2);
	else if (!strcmp(how, "text after"))
		strcat(s, "x");
	else if (!strcmp(how, "NUL after"))
		strcat(s, "\n"); /* and the test counts one byte more */
	else if (!strcmp(how, "blank inside"))
		body[8] = ' ';
	else if (!strcmp(how, "another letter"))
		body[8] = '*';
	else if (!strcmp(how, "padding inside"))
		body[8] = '=';
	else if (!strcmp(how, "another label"))
		s[11] = 'X';
	else if (!strcmp(how, "no end"))
		*strstr(s, "-----END") = '\0';
	else if (!strcmp(how, "white space around"))
		memmove(s + 3, s, strlen(s) + 1), memcpy(s, " \t\n", 3), strcat(s, "\r\n\n ");
	return s;
}

static const struct {
	const char *how;
	bool ok;
} pems[] = {
	{ "as it is", true },	  { "white space around", true }, { "text before", false },
	{ "text after", false },  { "NUL after", false },	  { "blank inside", false },
	{ "another letter", false }, { "padding inside", false }, { "another label", false },
	{ "no end", false },
};

TABLE_TEST(pki, pem_is_strict, pems)
{
	AUTO(pki_device_free) struct pki_device *d = NULL;
	struct err err = ERR_INIT;
	AUTO_CHAIN c;
	AUTO_ANCHOR anchor = { .cert = NULL };
	AUTO_MEM char *pem = NULL, *text = NULL;
	int r;

	own_device_chain(&c, "GH100", OWN_GOOD);
	anchor = anchor_of(&c);
	pem = own_pem(&c, 0, c.n);
	text = spoiled(pem, row->how);
	r = pki_device_verify(rd_of(text, strlen(text) + !strcmp(row->how, "NUL after")), &anchor, OWN_NOW,
			      &d, &err);
	cr_assert_eq(r, row->ok ? 0 : -1, "%s: %s", row->how, err_text(&err));
	cr_assert_eq(err.code, row->ok ? PKI_OK : PKI_CHAIN_FORMAT, "%s: %s", row->how, err_text(&err));
}

static const struct {
	const char *name;
	int cert[7]; /* -1 ends */
	enum pki_reason reason;
} orders[] = {
	{ "as it is", { 0, 1, 2, 3, 4, -1 }, PKI_OK },
	{ "nothing", { -1 }, PKI_CHAIN_FORMAT },
	{ "without the leaf", { 1, 2, 3, 4, -1 }, PKI_CHAIN_LENGTH },
	{ "without the root", { 0, 1, 2, 3, -1 }, PKI_CHAIN_LENGTH },
	{ "leaf twice", { 0, 0, 1, 2, 3, 4, -1 }, PKI_CHAIN_LENGTH },
	{ "root twice", { 0, 1, 2, 3, 4, 4, -1 }, PKI_CHAIN_LENGTH },
	{ "reversed", { 4, 3, 2, 1, 0, -1 }, PKI_CHAIN_LINK },
	{ "two swapped", { 0, 2, 1, 3, 4, -1 }, PKI_CHAIN_LINK },
	{ "one instead of another", { 0, 1, 2, 2, 4, -1 }, PKI_CHAIN_LINK },
	{ "ending below the root", { 0, 0, 1, 2, 3, -1 }, PKI_CHAIN_LINK },
};

TABLE_TEST(pki, exactly_five_in_order, orders)
{
	AUTO(pki_device_free) struct pki_device *d = NULL;
	struct err err = ERR_INIT;
	AUTO_CHAIN c;
	AUTO_ANCHOR anchor = { .cert = NULL };
	char pem[8192] = "";
	enum pki_reason got;

	own_device_chain(&c, "GH100", OWN_GOOD);
	anchor = anchor_of(&c);
	for (const int *i = row->cert; *i >= 0; i++) {
		AUTO_MEM char *one = own_pem(&c, (size_t)*i, (size_t)*i + 1);

		strcat(pem, one);
	}
	got = judge(pem, &anchor, OWN_NOW, &d, &err);
	ASSERT_REASON(got, row->reason, row->name);
}

/* --- anchors --------------------------------------------------------------------------------- */

static void assert_sha256(const unsigned char *der, int n, const char *want)
{
	uint8_t sum[SHA256_DIGEST_LENGTH];
	char hex[2 * sizeof(sum) + 1];

	cr_assert(n > 0);
	SHA256(der, (size_t)n, sum);
	for (size_t i = 0; i < sizeof(sum); i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
	cr_assert_str_eq(hex, want);
}

static const struct {
	enum pki_root which;
	const char *der, *spki;
} roots[] = {
	{ PKI_ROOT_DEVICE, "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48",
	  "a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4" },
	{ PKI_ROOT_RIM, "12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1",
	  "dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3" },
};

TABLE_TEST(pki, built_in_roots_are_nvidias, roots)
{
	unsigned char *der = NULL, *spki = NULL;
	struct err err = ERR_INIT;
	AUTO_ANCHOR a = { .cert = NULL };
	int n;

	cr_assert_eq(pki_anchor_builtin(row->which, &a, &err), 0, "%s", err_text(&err));
	cr_assert(!a.named_by_operator);
	n = i2d_X509(a.cert, &der);
	assert_sha256(der, n, row->der);
	n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(a.cert), &spki);
	assert_sha256(spki, n, row->spki);
	OPENSSL_free(der);
	OPENSSL_free(spki);
}

/* The whole chain is consistent, every name is right; only the root's key is another. */
Test(pki, a_root_of_the_same_name_is_refused)
{
	AUTO(pki_device_free) struct pki_device *d = NULL;
	struct err err = ERR_INIT;
	AUTO_CHAIN c, other;
	AUTO_ANCHOR ours = { .cert = NULL }, nvidia = { .cert = NULL };
	AUTO_MEM char *pem = NULL;
	enum pki_reason got;

	own_device_chain(&c, "GH100", OWN_GOOD);
	own_device_chain(&other, "GH100", OWN_GOOD);
	ours = anchor_of(&other);
	pem = own_pem(&c, 0, c.n);
	got = judge(pem, &ours, OWN_NOW, &d, &err);
	ASSERT_REASON(got, PKI_CHAIN_ROOT, "another root of ours");
	cr_assert_eq(pki_anchor_builtin(PKI_ROOT_DEVICE, &nvidia, &err), 0);
	got = judge(pem, &nvidia, OWN_NOW, &d, &err);
	ASSERT_REASON(got, PKI_CHAIN_ROOT, "NVIDIA's");
}

Test(pki, an_operator_names_one_root)
{
	AUTO_CHAIN c, p256;
	AUTO_MEM char *root = NULL, *two = NULL, *ica = NULL;
	struct err err = ERR_INIT;
	AUTO_ANCHOR a = { .cert = NULL };

	own_device_chain(&c, "GH100", OWN_GOOD);
	own_device_chain(&p256, "GH100", OWN_LEAF_P256);
	root = own_pem(&c, 4, 5);
	two = own_pem(&c, 3, 5);
	ica = own_pem(&c, 3, 4);
	cr_assert_eq(pki_anchor_load(rd_of("", 0), &a, &err), -1);
	cr_assert_eq(pki_anchor_load(rd_of(two, strlen(two)), &a, &err), -1);
	cr_assert_eq(pki_anchor_load(rd_of(ica, strlen(ica)), &a, &err), -1);
	cr_assert(strstr(err_text(&err), "not issued by itself"), "%s", err_text(&err));
	cr_assert(!a.cert);
	err_clear(&err);
	cr_assert_eq(pki_anchor_load(rd_of(root, strlen(root)), &a, &err), 0, "%s", err_text(&err));
	cr_assert(a.named_by_operator);
}

/* --- single bits ----------------------------------------------------------------------------- */

static size_t flip_certificate(const struct own_chain *c, size_t i, const struct pki_anchor *anchor, size_t step)
{
	unsigned char *der = NULL;
	int n = i2d_X509(c->cert[i], &der);
	size_t flips = 0;

	for (size_t bit = 0; bit < (size_t)n * 8; bit += step, flips++) {
		AUTO(pki_device_free) struct pki_device *d = NULL;
		struct err err = ERR_INIT;
		char pem[8192] = "";
		uint8_t text[4096];

		der[bit / 8] ^= (uint8_t)(1 << bit % 8);
		for (size_t k = 0; k < c->n; k++) {
			AUTO_MEM char *one = own_pem(c, k, k + 1);

			if (k != i) {
				strcat(pem, one);
				continue;
			}
			EVP_EncodeBlock(text, der, n);
			sprintf(pem + strlen(pem), "-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n",
				(char *)text);
		}
		cr_assert_neq(judge(pem, anchor, OWN_NOW, &d, &err), PKI_OK, "certificate %zu bit %zu", i, bit);
		der[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	OPENSSL_free(der);
	return flips;
}

Test(pki, bit_flips_of_certificates_are_refused)
{
	AUTO_CHAIN c;
	AUTO_ANCHOR anchor = { .cert = NULL };
	size_t flips = 0;

	own_device_chain(&c, "GH100", OWN_GOOD);
	anchor = anchor_of(&c);
	for (size_t i = 0; i < c.n; i++)
		flips += flip_certificate(&c, i, &anchor, 167);
	printf("pki: %zu single-bit flips of a chain's DER, each 167th, all refused\n", flips);
}

/* --- RIM signers ----------------------------------------------------------------------------- */

static const struct {
	const char *name, *l3, *ca;
	enum own_fault fault;
	size_t first, n;
	enum pki_reason reason;
	const char *says;
} rims[] = {
	{ "four", "GH100", "GH100", OWN_GOOD, 0, 4, PKI_OK, "" },
	{ "three", "GH100", "GH100", OWN_GOOD, 0, 3, PKI_OK, "" },
	{ "Blackwell", "GB100-CC", "GB1XX", OWN_GOOD, 0, 4, PKI_OK, "" },
	{ "LS10", "LS10", "LS10", OWN_GOOD, 0, 3, PKI_OK, "" },
	{ "two", "GH100", "GH100", OWN_GOOD, 0, 2, PKI_RIM_CHAIN, "2 RIM certificates" },
	{ "none", "GH100", "GH100", OWN_GOOD, 0, 0, PKI_RIM_CHAIN, "0 RIM certificates" },
	{ "without the signer", "GH100", "GH100", OWN_GOOD, 1, 3, PKI_RIM_CHAIN, "a leaf that is a CA" },
	{ "two families", "GH100", "LS10", OWN_GOOD, 0, 4, PKI_RIM_CHAIN, "different families" },
	{ "an unknown family", "GX100", "GX100", OWN_GOOD, 0, 4, PKI_RIM_CHAIN, "no chip family" },
	{ "a word that only begins so", "GH100B", "GH100B", OWN_GOOD, 0, 4, PKI_RIM_CHAIN, "no chip family" },
	{ "expired", "GH100", "GH100", OWN_EXPIRED, 0, 4, PKI_RIM_TIME, "RIM certificate 2 has expired" },
	{ "root not valid yet", "GH100", "GH100", OWN_NOT_YET, 0, 3, PKI_RIM_TIME, "RIM certificate 3" },
	{ "a signer that may not sign", "GH100", "GH100", OWN_LEAF_NO_USAGE, 0, 4, PKI_RIM_CHAIN, "key usage" },
	{ "a signer that is a CA", "GH100", "GH100", OWN_LEAF_CA, 0, 4, PKI_RIM_CHAIN, "leaf that is a CA" },
	{ "signed by another", "GH100", "GH100", OWN_WRONG_SIGNER, 0, 3, PKI_RIM_CHAIN, "not signed by" },
	{ "CA that allows no CA below", "GH100", "GH100", OWN_PATHLEN, 0, 3, PKI_RIM_CHAIN, "path length" },
	{ "SHA-256", "GH100", "GH100", OWN_SHA256, 0, 3, PKI_RIM_CHAIN, "SHA-384" },
	{ "unknown critical", "GH100", "GH100", OWN_CRITICAL, 0, 3, PKI_RIM_CHAIN, "critical" },
};

static enum pki_reason judge_rim(const struct rd *der, size_t n, const struct pki_anchor *anchor, int64_t now,
				 struct pki_rim_signer **out, struct err *err)
{
	if (pki_rim_signer_verify(der, n, anchor, now, out, err) == 0)
		return PKI_OK;
	cr_assert(!*out);
	cr_assert_eq(err->kind, ERR_UNTRUSTED, "%s", err_text(err));
	return (enum pki_reason)err->code;
}

TABLE_TEST(pki, rim_signers_keep_every_rule, rims)
{
	AUTO(pki_rim_signer_free) struct pki_rim_signer *s = NULL;
	struct err err = ERR_INIT;
	unsigned char *bytes[4] = { NULL };
	struct rd der[4];
	AUTO_CHAIN c;
	AUTO_ANCHOR anchor = { .cert = NULL };
	enum pki_reason got;

	own_rim_chain(&c, row->l3, row->ca, row->fault);
	anchor = anchor_of(&c);
	for (size_t i = 0; i < 4; i++) {
		int n = i2d_X509(c.cert[i], &bytes[i]);

		der[i] = rd_of(bytes[i], (size_t)n);
	}
	got = judge_rim(der + row->first, row->n, &anchor, OWN_NOW, &s, &err);
	for (size_t i = 0; i < 4; i++)
		OPENSSL_free(bytes[i]);
	ASSERT_REASON(got, row->reason, row->name);
	cr_assert(strstr(err_text(&err), row->says), "%s: %s", row->name, err_text(&err));
	if (got == PKI_OK)
		cr_assert_eq(EVP_PKEY_eq(pki_rim_signer_key(s), c.key[0]), 1);
}

/* --- genuine evidence ------------------------------------------------------------------------ */

static int64_t time_of(const char *rfc3339)
{
	struct tm tm = { 0 };

	cr_assert(strptime(rfc3339, "%Y-%m-%dT%H:%M:%SZ", &tm), "%s", rfc3339);
	return timegm(&tm);
}

static const struct {
	const char *chain;
	enum pki_reason reason;
	enum pki_family family;
	uint8_t pdi; /* its first byte */
} genuine[] = {
#define HGX(d) "ppcie/h200-570.124.06/" d ".chain.pem"
#define MPT(d) "gpu/gb100-mpt-590.48.01/gpu" d ".chain.pem"
	{ "gpu/h100-550.90.07/chain.pem", PKI_OK, PKI_GH100, 0x43 },
	{ "gpu/h100-535.86.09/chain.pem", PKI_OK, PKI_GH100, 0 },
	{ "gpu/h100-580.159.03/chain.pem", PKI_OK, PKI_GH100, 0 },
	{ "gpu/gb100-575.32/chain.pem", PKI_OK, PKI_GB100, 0xe6 },
	{ MPT("0"), PKI_OK, PKI_GB100, 0 }, { MPT("1"), PKI_OK, PKI_GB100, 0 },
	{ MPT("2"), PKI_OK, PKI_GB100, 0 }, { MPT("3"), PKI_OK, PKI_GB100, 0 },
	{ MPT("4"), PKI_OK, PKI_GB100, 0 },
	{ HGX("gpu0"), PKI_OK, PKI_GH100, 0 }, { HGX("gpu1"), PKI_OK, PKI_GH100, 0 },
	{ HGX("gpu2"), PKI_OK, PKI_GH100, 0 }, { HGX("gpu3"), PKI_OK, PKI_GH100, 0 },
	{ HGX("gpu4"), PKI_OK, PKI_GH100, 0 }, { HGX("gpu5"), PKI_OK, PKI_GH100, 0 },
	{ HGX("gpu6"), PKI_OK, PKI_GH100, 0 }, { HGX("gpu7"), PKI_OK, PKI_GH100, 0 },
	{ HGX("switch0"), PKI_OK, PKI_LS10, 0x8f }, { HGX("switch1"), PKI_OK, PKI_LS10, 0 },
	{ HGX("switch2"), PKI_OK, PKI_LS10, 0 }, { HGX("switch3"), PKI_OK, PKI_LS10, 0 },
	{ "switch/ls10-96.10.55.00.01/chain.pem", PKI_OK, PKI_LS10, 0x20 },
	{ "derived/chain/blackwell-chain.pem", PKI_OK, PKI_GB100, 0 },
	{ "derived/chain/reversed.pem", PKI_CHAIN_LINK, PKI_GH100, 0 },
	{ "derived/chain/root-missing.pem", PKI_CHAIN_LENGTH, PKI_GH100, 0 },
	{ "derived/chain/leaf-missing.pem", PKI_CHAIN_LENGTH, PKI_GH100, 0 },
	{ "derived/chain/leaf-twice.pem", PKI_CHAIN_LENGTH, PKI_GH100, 0 },
	{ "synthetic/chain/ok.pem", PKI_CHAIN_ROOT, PKI_GH100, 0 },
};

TABLE_TEST(pki, genuine_chains_get_their_verdict, genuine)
{
	AUTO(pki_device_free) struct pki_device *d = NULL;
	AUTO_BUF pem = BUF_INIT(VECTOR_MAX_BYTES);
	struct err err = ERR_INIT;
	AUTO_ANCHOR anchor = { .cert = NULL };
	enum pki_reason got;

	NEED_VECTORS();
	vector_read(row->chain, &pem);
	cr_assert_eq(pki_anchor_builtin(PKI_ROOT_DEVICE, &anchor, &err), 0);
	got = judge(buf_str(&pem), &anchor, time_of("2025-08-21T12:00:00Z"), &d, &err);
	ASSERT_REASON(got, row->reason, row->chain);
	if (got != PKI_OK)
		return;
	cr_assert_eq(d->family, row->family);
	cr_assert(!d->anchor_named);
	cr_assert(row->pdi == 0 || d->pdi[0] == row->pdi, "%s: %02x", row->chain, d->pdi[0]);
	cr_assert(strstr(d->model, d->is_switch ? "FSP BROM" : "GSP BROM"));
	pki_device_free(TAKE_PTR(d));
	got = judge(buf_str(&pem), &anchor, time_of("2020-01-01T00:00:00Z"), &d, &err);
	ASSERT_REASON(got, PKI_CHAIN_TIME, row->chain);
}

/* The made cases about chains, under their own root. */
Test(pki, made_cases_get_their_verdict)
{
	AUTO_BUF root = BUF_INIT(VECTOR_MAX_BYTES);
	struct err err = ERR_INIT;
	AUTO_ANCHOR anchor = { .cert = NULL };
	size_t i, refused = 0, passed = 0;
	json_t *doc, *c;

	NEED_VECTORS();
	vector_read("synthetic/pki/device-root.pem", &root);
	cr_assert_eq(pki_anchor_load(buf_rd(&root), &anchor, &err), 0, "%s", err_text(&err));
	doc = vector_json("synthetic/cases.json");
	json_array_foreach(json_object_get(doc, "cases"), i, c) {
		AUTO(pki_device_free) struct pki_device *d = NULL;
		AUTO_BUF pem = BUF_INIT(VECTOR_MAX_BYTES);
		const char *id = json_string_value(json_object_get(c, "id"));
		const char *want = json_string_value(json_object_get(c, "error"));
		char name[160];
		enum pki_reason got;

		err_clear(&err);
		snprintf(name, sizeof(name), "synthetic/%s", json_string_value(json_object_get(c, "chain")));
		vector_read(name, &pem);
		got = judge(buf_str(&pem), &anchor, time_of(json_string_value(json_object_get(c, "time"))), &d,
			    &err);
		if (strncmp(id, "chain/", 6) || !strcmp(want, "report-signature"))
			want = "none"; /* nothing is wrong with these chains */
		cr_assert_str_eq(pki_reason_word(got), want, "%s: %s", id, err_text(&err));
		passed += got == PKI_OK;
		refused += got != PKI_OK;
	}
	json_decref(doc);
	printf("pki: of the made cases %zu chains refused as told, %zu passed\n", refused, passed);
	cr_assert_eq(refused, 12);
}

/* The certificates of a RIM file, without reading its XML: tests only. */
static size_t rim_certificates(const char *name, uint8_t bytes[5][2048], struct rd der[5])
{
	AUTO_BUF xml = BUF_INIT(VECTOR_MAX_BYTES);
	const char *at;
	size_t n = 0;

	vector_read(name, &xml);
	at = buf_str(&xml);
	while (n < 5 && (at = strstr(at, "X509Certificate>"))) {
		char text[4096];
		size_t k = 0;
		int size;

		at += strlen("X509Certificate>");
		for (; *at && *at != '<' && k < sizeof(text); at++)
			if (!strchr(" \r\n\t", *at))
				text[k++] = *at;
		size = EVP_DecodeBlock(bytes[n], (uint8_t *)text, (int)k);
		cr_assert(size > 0 && size <= 2048, "%s", name);
		der[n] = rd_of(bytes[n], (size_t)size - (text[k - 1] == '=') - (text[k - 2] == '='));
		n++;
		at += strlen("</X509Certificate>");
	}
	return n;
}

static const struct {
	const char *rim, *root, *time;
	enum pki_reason reason;
	enum pki_family family;
} rim_files[] = {
#define TEST_RIM(name, why) { "synthetic/rim/" name ".xml", "synthetic/pki/rim-root.pem", "2026-06-01T12:00:00Z", why, PKI_GH100 }
	{ "gpu/h100-550.90.07/driver-rim.xml", NULL, "2025-10-24T12:00:00Z", PKI_OK, PKI_GH100 },
	{ "gpu/h100-550.90.07/vbios-rim.xml", NULL, "2025-10-24T12:00:00Z", PKI_OK, PKI_GH100 },
	{ "gpu/h100-550.90.07/driver-rim.xml", NULL, "2026-11-20T12:00:00Z", PKI_RIM_TIME, PKI_GH100 },
	{ "gpu/h100-550.90.07/driver-rim.xml", "roots/nvidia-device-identity-root.pem", "2025-10-24T12:00:00Z",
	  PKI_RIM_CHAIN, PKI_GH100 },
	{ "gpu/h100-535.86.09/vbios-rim.xml", NULL, "2025-06-01T12:00:00Z", PKI_OK, PKI_GH100 },
	{ "gpu/h100-535.86.09/vbios-rim-later-issue-index9-differs.xml", NULL, "2025-06-01T12:00:00Z", PKI_OK,
	  PKI_GH100 },
	{ "gpu/h100-580.159.03/vbios-rim-old-issue-index9-differs.xml", NULL, "2025-06-01T12:00:00Z", PKI_OK,
	  PKI_GH100 },
	{ "switch/ls10-96.10.55.00.01/vbios-rim.xml", NULL, "2026-11-20T12:00:00Z", PKI_OK, PKI_LS10 },
	{ "rims/NV_GPU_DRIVER_GH100_550.144.03.xml", NULL, "2025-06-01T12:00:00Z", PKI_OK, PKI_GH100 },
	{ "rims/vbios/1010_0200_882_96005E0003_PROD.xml", NULL, "2025-06-01T12:00:00Z", PKI_OK, PKI_GH100 },
	{ "rims/vbios/1010_0200_882_960074001A_PROD.xml", NULL, "2025-06-01T12:00:00Z", PKI_OK, PKI_GH100 },
	{ "rims/vbios/1010_0215_866_9600740010_PROD.xml", NULL, "2025-06-01T12:00:00Z", PKI_OK, PKI_GH100 },
	{ "rims/vbios/g520_0200_885_9600740001_PROD.xml", NULL, "2025-06-01T12:00:00Z", PKI_OK, PKI_GH100 },
	{ "rims/vbios/g520_0213_881_96006D0026_PROD.xml", NULL, "2025-06-01T12:00:00Z", PKI_OK, PKI_GH100 },
	TEST_RIM("driver-ok", PKI_OK), TEST_RIM("vbios-ok", PKI_OK),
	TEST_RIM("driver-signer-expired", PKI_RIM_TIME), TEST_RIM("driver-other-root", PKI_RIM_CHAIN),
	TEST_RIM("driver-chain-leaf-only", PKI_RIM_CHAIN), TEST_RIM("driver-signer-keyusage", PKI_RIM_CHAIN),
};

TABLE_TEST(pki, rim_files_signers_get_their_verdict, rim_files)
{
	AUTO(pki_rim_signer_free) struct pki_rim_signer *s = NULL;
	AUTO_BUF pem = BUF_INIT(VECTOR_MAX_BYTES);
	static uint8_t bytes[5][2048];
	struct err err = ERR_INIT;
	AUTO_ANCHOR anchor = { .cert = NULL };
	struct rd der[5];
	enum pki_reason got;
	size_t n;

	NEED_VECTORS();
	if (row->root) {
		vector_read(row->root, &pem);
		cr_assert_eq(pki_anchor_load(buf_rd(&pem), &anchor, &err), 0, "%s", err_text(&err));
	} else {
		cr_assert_eq(pki_anchor_builtin(PKI_ROOT_RIM, &anchor, &err), 0);
	}
	n = rim_certificates(row->rim, bytes, der);
	got = judge_rim(der, n, &anchor, time_of(row->time), &s, &err);
	ASSERT_REASON(got, row->reason, row->rim);
	if (got == PKI_OK)
		cr_assert_eq(s->family, row->family);
}
