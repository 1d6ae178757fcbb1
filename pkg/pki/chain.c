/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain, rule by rule, each rule over all certificates before the next: links, algorithms, the root,
 * constraints, signatures, validity.  We do this ourselves, since OpenSSL's own verification reads the
 * clock, forgives missing key identifiers and would take any length.
 */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "pki/internal.h"

struct chain {
	X509 *const *cert; /* leaf first */
	size_t n;
	const struct pki_anchor *anchor;
	int64_t now;
	const struct chain_words *words;
};

static bool name_equal(const X509_NAME *a, const X509_NAME *b)
{
	const unsigned char *pa, *pb;
	size_t na, nb;

	return X509_NAME_get0_der(a, &pa, &na) && X509_NAME_get0_der(b, &pb, &nb) && na == nb &&
	       memcmp(pa, pb, na) == 0;
}

static bool key_id_equal(const ASN1_OCTET_STRING *a, const ASN1_OCTET_STRING *b)
{
	return a && b && ASN1_STRING_length(a) > 0 && ASN1_OCTET_STRING_cmp(a, b) == 0;
}

static int links_check(const struct chain *c, struct err *err)
{
	for (size_t i = 0; i + 1 < c->n; i++) {
		if (!name_equal(X509_get_issuer_name(c->cert[i]), X509_get_subject_name(c->cert[i + 1])))
			return pki_refuse(err, c->words->link, "%s %zu: its issuer is not the subject of %zu",
					  c->words->what, i, i + 1);
		if (!key_id_equal(X509_get0_authority_key_id(c->cert[i]),
				  X509_get0_subject_key_id(c->cert[i + 1])))
			return pki_refuse(err, c->words->link,
					  "%s %zu: its authority key id is not the subject key id of %zu",
					  c->words->what, i, i + 1);
	}
	return 0;
}

static int algorithms_check(const struct chain *c, struct err *err)
{
	for (size_t i = 0; i < c->n; i++) {
		const X509_ALGOR *alg = X509_get0_tbs_sigalg(c->cert[i]);
		int parameter;

		X509_ALGOR_get0(NULL, &parameter, NULL, alg);
		if (X509_get_signature_nid(c->cert[i]) != NID_ecdsa_with_SHA384 ||
		    parameter != V_ASN1_UNDEF)
			return pki_refuse(err, c->words->algorithm, "%s %zu: not signed with ECDSA and SHA-384",
					  c->words->what, i);
		if (!pki_cert_is_p384(c->cert[i]))
			return pki_refuse(err, c->words->algorithm, "%s %zu: its key is not on P-384",
					  c->words->what, i);
	}
	return 0;
}

static int root_check(const struct chain *c, struct err *err)
{
	if (!pki_cert_equal(c->cert[c->n - 1], c->anchor->cert))
		return pki_refuse(err, c->words->root, "%s %zu is not the pinned root", c->words->what,
				  c->n - 1);
	return 0;
}

/* Known, once each, and critical only where we act on them (RFC 5280, 4.2). */
static const char *extensions_fault(const X509 *x)
{
	for (int i = 0; i < X509_get_ext_count(x); i++) {
		X509_EXTENSION *e = X509_get_ext(x, i);
		const ASN1_OBJECT *o = X509_EXTENSION_get_object(e);
		int nid = OBJ_obj2nid(o);

		if (X509_get_ext_by_OBJ(x, o, i) >= 0)
			return "the same extension twice";
		if (X509_EXTENSION_get_critical(e) && nid != NID_basic_constraints &&
		    nid != NID_key_usage)
			return "an unknown critical extension";
	}
	return NULL;
}

static const char *leaf_fault(X509 *x, bool signs_only)
{
	uint32_t usage = X509_get_key_usage(x);

	if (X509_get_extension_flags(x) & EXFLAG_CA)
		return "a leaf that is a CA";
	if (usage == UINT32_MAX || !(usage & KU_DIGITAL_SIGNATURE))
		return "key usage without digitalSignature";
	if (signs_only && usage != KU_DIGITAL_SIGNATURE)
		return "key usage beyond digitalSignature";
	return NULL;
}

/* `below`: CA certificates between this one and the leaf. */
static const char *ca_fault(X509 *x, size_t below)
{
	uint32_t usage = X509_get_key_usage(x), flags = X509_get_extension_flags(x);
	long path = X509_get_pathlen(x);

	if (!(flags & EXFLAG_BCONS) || !(flags & EXFLAG_CA))
		return "an issuer that is no CA";
	if (usage == UINT32_MAX || !(usage & KU_KEY_CERT_SIGN))
		return "key usage without keyCertSign";
	if (path >= 0 && below > (size_t)path)
		return "more CAs below it than its path length allows";
	return NULL;
}

static int constraints_check(const struct chain *c, struct err *err)
{
	for (size_t i = 0; i < c->n; i++) {
		X509 *x = c->cert[i];
		const char *fault = extensions_fault(x);

		if (!fault && X509_get_version(x) != X509_VERSION_3)
			fault = "not a version 3 certificate";
		if (!fault && X509_get_extension_flags(x) & EXFLAG_INVALID)
			fault = "an extension that cannot be read";
		if (!fault)
			fault = i == 0 ? leaf_fault(x, c->words->leaf_signs_only) : ca_fault(x, i - 1);
		if (fault)
			return pki_refuse(err, c->words->constraints, "%s %zu: %s", c->words->what, i, fault);
	}
	return 0;
}

static int signatures_check(const struct chain *c, struct err *err)
{
	for (size_t i = 0; i + 1 < c->n; i++)
		if (X509_verify(c->cert[i], X509_get0_pubkey(c->cert[i + 1])) != 1)
			return pki_refuse(err, c->words->link, "%s %zu: not signed by the key of %zu",
					  c->words->what, i, i + 1);
	return 0;
}

static int validity_check(const struct chain *c, struct err *err)
{
	for (size_t i = 0; i < c->n; i++) {
		int64_t from = pki_time(X509_get0_notBefore(c->cert[i]));
		int64_t to = pki_time(X509_get0_notAfter(c->cert[i]));

		if (from == INT64_MIN || to == INT64_MIN)
			return pki_refuse(err, c->words->time, "%s %zu: its validity cannot be read",
					  c->words->what, i);
		if (c->now < from || c->now > to)
			return pki_refuse(err, c->words->time, "%s %zu %s", c->words->what, i,
					  c->now < from ? "is not valid yet" : "has expired");
	}
	return 0;
}

int pki_chain_verify(X509 *const *cert, size_t n, const struct pki_anchor *anchor, int64_t now,
		     const struct chain_words *words, struct err *err)
{
	static int (*const rules[])(const struct chain *, struct err *) = {
		links_check, algorithms_check, root_check, constraints_check, signatures_check, validity_check,
	};
	const struct chain c = { cert, n, anchor, now, words };

	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (rules[i](&c, err) < 0)
			return -1;
	return 0;
}

int64_t pki_chain_not_after(X509 *const *cert, size_t n)
{
	int64_t first = INT64_MAX;

	for (size_t i = 0; i < n; i++) {
		int64_t to = pki_time(X509_get0_notAfter(cert[i]));

		first = to < first ? to : first;
	}
	return first;
}
