/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates are made from a row of a table each; a fault changes one thing of one row. */
#include "own_pki.h"

#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#define COMPOSITE_OID "2.23.133.5.4.1"
#define TCB_INFO_OID  "2.23.133.5.4.1.1"
#define BEGINS	      1735689600 /* 2025-01-01T00:00:00Z */
#define FOREVER	      "99991231235959Z"

struct plan {
	char subject[64], issuer[64];
	const char *serial; /* hex */
	const char *basic, *usage; /* NULL: without */
	bool aki;
	long version;
};

static void extension_add(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *e;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	cr_assert(e, "%s", value);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

static void raw_extension_add(X509 *x, const char *oid, int critical, const uint8_t *der, size_t n)
{
	ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *o = OBJ_txt2obj(oid, 1);
	X509_EXTENSION *e;

	ASN1_OCTET_STRING_set(s, der, (int)n);
	e = X509_EXTENSION_create_by_OBJ(NULL, o, critical, s);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	ASN1_OCTET_STRING_free(s);
	ASN1_OBJECT_free(o);
}

static void name_set(X509_NAME *name, const char *cn)
{
	X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const uint8_t *)"gpucc tests", -1, -1, 0);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)cn, -1, -1, 0);
}

/* Unsigned; issuer is x itself for a root. */
static X509 *cert_new(const struct plan *p, EVP_PKEY *key, X509 *issuer)
{
	X509 *x = X509_new();
	BIGNUM *serial = NULL;

	BN_hex2bn(&serial, p->serial);
	BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x));
	BN_free(serial);
	X509_set_version(x, p->version);
	name_set(X509_get_subject_name(x), p->subject);
	name_set(X509_get_issuer_name(x), p->issuer);
	ASN1_TIME_set(X509_getm_notBefore(x), BEGINS);
	ASN1_TIME_set_string(X509_getm_notAfter(x), FOREVER);
	X509_set_pubkey(x, key);
	if (p->version < X509_VERSION_3)
		return x;
	if (p->basic)
		extension_add(x, issuer ? issuer : x, NID_basic_constraints, p->basic);
	if (p->usage)
		extension_add(x, issuer ? issuer : x, NID_key_usage, p->usage);
	extension_add(x, issuer ? issuer : x, NID_subject_key_identifier, "hash");
	if (p->aki)
		extension_add(x, issuer ? issuer : x, NID_authority_key_identifier, "keyid:always");
	return x;
}

/* --- DICE extensions ------------------------------------------------------------------------- */

struct der {
	uint8_t b[1024];
	size_t n;
};

static void der_add(struct der *d, uint8_t tag, const void *p, size_t n)
{
	uint8_t value[1024];

	cr_assert_leq(d->n + n + 4, sizeof(d->b));
	memcpy(value, p, n);
	d->b[d->n++] = tag;
	if (n >= 0x100)
		d->b[d->n++] = 0x82, d->b[d->n++] = (uint8_t)(n >> 8);
	else if (n >= 0x80)
		d->b[d->n++] = 0x81;
	d->b[d->n++] = (uint8_t)n;
	memcpy(d->b + d->n, value, n);
	d->n += n;
}

static void digest_add(struct der *d, enum own_fault fault)
{
	static const uint8_t sha2[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02 };
	struct der pair = { .n = 0 };
	uint8_t oid[9], value[48];

	memcpy(oid, sha2, sizeof(sha2));
	oid[8] = fault == OWN_FWID_SHA256 ? 1 : 2;
	memset(value, fault == OWN_FWID_ZERO ? 0 : 'f', sizeof(value));
	der_add(&pair, 0x06, oid, sizeof(oid));
	der_add(&pair, 0x04, value, fault == OWN_FWID_SHORT ? 47 : 48);
	der_add(d, 0x30, pair.b, pair.n);
}

static void composite_add(X509 *leaf, X509 *issuer, EVP_PKEY *other, enum own_fault fault)
{
	struct der list = { .n = 0 }, ext = { .n = 0 };
	unsigned char *spki = NULL;
	int n = fault == OWN_FWID_OTHER_KEY ? i2d_PUBKEY(other, &spki)
					    : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(issuer), &spki);

	der_add(&list, 0x02, "\1", 1);
	memcpy(list.b + list.n, spki, (size_t)n);
	list.n += (size_t)n;
	OPENSSL_free(spki);
	digest_add(&list, fault);
	der_add(&ext, 0x30, list.b, list.n);
	if (fault == OWN_FWID_TRAILING)
		ext.b[ext.n++] = 0;
	raw_extension_add(leaf, COMPOSITE_OID, 0, ext.b, ext.n);
}

static void tcb_info_add(X509 *leaf, enum own_fault fault)
{
	struct der list = { .n = 0 }, ext = { .n = 0 }, digests = { .n = 0 };
	const char *vendor = fault == OWN_FWID_VENDOR ? "NOBODY" : "NVIDIA";
	const char *model = fault == OWN_FWID_MODEL ? "GH100 A01 GSP" : "GB100 A01 GSP";

	if (fault != OWN_FWID_ORDER)
		der_add(&list, 0x80, vendor, strlen(vendor));
	der_add(&list, 0x81, model, strlen(model));
	if (fault == OWN_FWID_ORDER)
		der_add(&list, 0x80, vendor, strlen(vendor));
	der_add(&list, 0x83, "\1", 1);
	if (fault != OWN_FWID_NONE) {
		digest_add(&digests, fault);
		digest_add(&digests, OWN_FWID_ZERO);
	}
	der_add(&list, 0xa6, digests.b, digests.n);
	der_add(&list, 0x89, "\0", 1);
	der_add(&ext, 0x30, list.b, list.n);
	if (fault == OWN_FWID_TRAILING)
		ext.b[ext.n++] = 0;
	raw_extension_add(leaf, TCB_INFO_OID, 0, ext.b, ext.n);
}

static void san_add(X509 *leaf, const char *family, enum own_fault fault)
{
	char value[160];

	snprintf(value, sizeof(value), "otherName:1.3.6.1.4.1.412.274.1;UTF8:NVIDIA:%s:%s%s",
		 fault == OWN_FAMILY_SAN ? "GB102" : family,
		 fault == OWN_SAN_SHORT ? "48B02D92494BADF" : "48B02D92494BADF4",
		 fault == OWN_SAN_TWO ? ",DNS:elsewhere" : "");
	extension_add(leaf, leaf, NID_subject_alt_name, value);
}

static void leaf_extensions_add(struct own_chain *c, const char *family, enum own_fault fault)
{
	bool tcb = strcmp(family, "GB100") == 0;

	if (fault != OWN_NO_SAN)
		san_add(c->cert[0], family, fault);
	if (fault == OWN_NO_FWID)
		return;
	if (tcb != (fault == OWN_FWID_OTHER_SHAPE) || fault == OWN_FWID_BOTH)
		tcb_info_add(c->cert[0], fault);
	if (tcb == (fault == OWN_FWID_OTHER_SHAPE) || fault == OWN_FWID_BOTH)
		composite_add(c->cert[0], c->cert[1], c->key[0], fault);
}

/* --- chains ---------------------------------------------------------------------------------- */

/* Faults that do not depend on what the chain is for. */
static void plans_spoil(struct plan *p, size_t n, enum own_fault fault)
{
	switch (fault) {
	case OWN_NO_AKI:
		p[2].aki = false;
		break;
	case OWN_NAME_CASE:
		for (char *s = p[1].issuer; *s; s++)
			*s = *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s;
		break;
	case OWN_IK_NOT_CA:
		p[1].basic = NULL;
		break;
	case OWN_IK_NO_CERTSIGN:
		p[1].usage = "critical,digitalSignature";
		break;
	case OWN_LEAF_CA:
		p[0].basic = "critical,CA:TRUE";
		break;
	case OWN_LEAF_NO_USAGE:
		p[0].usage = NULL;
		break;
	case OWN_LEAF_TWO_USAGES:
		p[0].usage = "critical,digitalSignature,keyCertSign";
		break;
	case OWN_PATHLEN:
		p[n - 2].basic = "critical,CA:TRUE,pathlen:0";
		break;
	case OWN_VERSION_1:
		p[0].version = X509_VERSION_1;
		break;
	default:
		break;
	}
}

static void cert_spoil(struct own_chain *c, size_t i, enum own_fault fault)
{
	X509 *x = c->cert[i];

	if (fault == OWN_CRITICAL && i == 0)
		raw_extension_add(x, "1.2.3.4", 1, (const uint8_t *)"\5\0", 2);
	if (fault == OWN_NAME_CONSTRAINTS && i == 2)
		extension_add(x, x, NID_name_constraints, "critical,permitted;DNS:example");
	for (int twice = 0; twice < 2 && fault == OWN_EXTENSION_TWICE && i == 3; twice++)
		raw_extension_add(x, "1.2.3.4", 0, (const uint8_t *)"\5\0", 2);
	if (fault == OWN_WRONG_AKI && i == 1) {
		X509_EXTENSION_free(
			X509_delete_ext(x, X509_get_ext_by_NID(x, NID_authority_key_identifier, -1)));
		extension_add(x, c->cert[3], NID_authority_key_identifier, "keyid:always");
	}
	if ((fault == OWN_EXPIRED || fault == OWN_ENDS_NOW) && i == 2)
		ASN1_TIME_set(X509_getm_notAfter(x), OWN_NOW - (fault == OWN_EXPIRED));
	if (fault == OWN_NOT_YET && i == 3)
		ASN1_TIME_set(X509_getm_notBefore(x), OWN_NOW + 1);
}

static void chain_make(struct own_chain *c, struct plan *p, size_t n, const char *family,
		       enum own_fault fault)
{
	*c = (struct own_chain){ .n = n };
	plans_spoil(p, n, fault);
	for (size_t i = n; i-- > 0;) {
		bool root = i == n - 1;
		const EVP_MD *md = fault == OWN_SHA256 && i == 1 ? EVP_sha256() : EVP_sha384();
		EVP_PKEY *signer;

		c->key[i] = EVP_EC_gen(fault == OWN_LEAF_P256 && i == 0 ? "P-256" : "P-384");
		c->cert[i] = cert_new(&p[i], c->key[i], root ? NULL : c->cert[i + 1]);
		if (i == 0 && family && p[0].version == X509_VERSION_3)
			leaf_extensions_add(c, family, fault);
		cert_spoil(c, i, fault);
		signer = c->key[root ? i : i + 1 + (fault == OWN_WRONG_SIGNER && i == 0)];
		cr_assert(X509_sign(c->cert[i], signer, md) > 0);
	}
}

static void issuers_fill(struct plan *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		memcpy(p[i].issuer, p[i + 1 < n ? i + 1 : i].subject, sizeof(p[i].issuer));
}

#define CA	      .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign,cRLSign", .aki = true, .version = 2
#define LEAF(serial_) .serial = (serial_), .usage = "critical,digitalSignature", .aki = true, .version = 2

void own_device_chain(struct own_chain *c, const char *family, enum own_fault fault)
{
	bool is_switch = strcmp(family, "LS_10") == 0;
	const char *fsp = is_switch ? "FSP" : "GSP", *other = is_switch ? "GH100" : "LS_10";
	struct plan p[OWN_CERTS] = {
		{ LEAF("53C22BA15E5D68088282DA074ED9FB37AA585771") },
		{ .serial = is_switch ? "50203EB31AD9ED0008" : "41431D480FE5E87274", CA },
		{ .serial = "6AFE7184", CA }, { .serial = "4C255EDE", CA }, { .serial = "2D3670B1", CA },
	};
	const char *leaf = fault == OWN_FAMILY_LEAF ? other : fault == OWN_FAMILY_UNKNOWN ? "GX100" : family;

	snprintf(p[0].subject, sizeof(p->subject), "%s A01 %s FMC LF", leaf, fsp);
	snprintf(p[1].subject, sizeof(p->subject), "%s A01 %s BROM", fault == OWN_FAMILY_IK ? other : family, fsp);
	snprintf(p[2].subject, sizeof(p->subject), "OURS %s Provisioner ICA 1",
		 fault == OWN_FAMILY_ICA ? other : family);
	snprintf(p[3].subject, sizeof(p->subject), "OURS %s Identity",
		 fault == OWN_FAMILY_IDENTITY ? "GX100" : is_switch ? "GH100" : family);
	snprintf(p[4].subject, sizeof(p->subject), "OURS Device Identity CA");
	if (fault == OWN_SERIAL_TYPE)
		p[1].serial = is_switch ? "41431D480FE5E87274" : "50203EB31AD9ED0008";
	if (fault == OWN_SERIAL_SHORT)
		p[1].serial = "41431D480FE5E872";
	issuers_fill(p, OWN_CERTS);
	chain_make(c, p, OWN_CERTS, family, fault);
}

void own_rim_chain(struct own_chain *c, const char *l3, const char *ca, enum own_fault fault)
{
	struct plan p[4] = {
		{ LEAF("01AA"), .basic = "critical,CA:FALSE" }, { .serial = "02BB", CA },
		{ .serial = "03CC", CA }, { .serial = "04DD", CA },
	};

	snprintf(p[0].subject, sizeof(p->subject), "OURS RIM L4 Signer");
	snprintf(p[1].subject, sizeof(p->subject), "OURS Reference Value L3 %s 001", l3);
	snprintf(p[2].subject, sizeof(p->subject), "OURS Reference Value %s CA", ca);
	snprintf(p[3].subject, sizeof(p->subject), "OURS RIM Root CA");
	p[1].basic = "critical,CA:TRUE,pathlen:0";
	issuers_fill(p, 4);
	chain_make(c, p, 4, NULL, fault);
}

void own_responder(const struct own_chain *c, size_t i, enum own_responder how, X509 **cert, EVP_PKEY **key)
{
	size_t by = how == OWN_RESPONDER_OTHER_ISSUER ? i + 1 : i;
	struct plan p = { .serial = "05EE", .usage = "critical,digitalSignature", .aki = true, .version = 2 };
	char issuer[64];

	X509_NAME_get_text_by_NID(X509_get_subject_name(c->cert[by]), NID_commonName, issuer, sizeof(issuer));
	snprintf(p.issuer, sizeof(p.issuer), "%s", issuer);
	snprintf(p.subject, sizeof(p.subject), "OURS OCSP Responder");
	if (how == OWN_RESPONDER_NO_SIGNING)
		p.usage = "critical,keyEncipherment";
	*key = EVP_EC_gen("P-384");
	*cert = cert_new(&p, *key, c->cert[by]);
	if (how != OWN_RESPONDER_NO_EKU)
		extension_add(*cert, c->cert[by], NID_ext_key_usage, "critical,OCSPSigning");
	if (how == OWN_RESPONDER_EXPIRED)
		ASN1_TIME_set(X509_getm_notAfter(*cert), BEGINS + 1);
	cr_assert(X509_sign(*cert, how == OWN_RESPONDER_OTHER_KEY ? *key : c->key[by], EVP_sha384()) > 0);
}

void own_chain_clear(struct own_chain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		X509_free(c->cert[i]);
		EVP_PKEY_free(c->key[i]);
	}
	*c = (struct own_chain){ .n = 0 };
}

char *own_pem(const struct own_chain *c, size_t first, size_t last)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p, *text;
	long n;

	for (size_t i = first; i < last; i++)
		PEM_write_bio_X509(bio, c->cert[i]);
	n = BIO_get_mem_data(bio, &p);
	text = malloc((size_t)n + 1);
	cr_assert(text);
	memcpy(text, p, (size_t)n);
	text[n] = '\0';
	BIO_free(bio);
	return text;
}
