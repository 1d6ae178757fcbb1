/* SPDX-License-Identifier: Apache-2.0 */
/* pki inside: one certificate, a chain of them, and DER by hand where OpenSSL knows no type. */
#pragma once
#include "pki/pki.h"

struct rd pki_root_der(enum pki_root which);

/* -1; the text is "word: ...". */
int pki_refuse(struct err *err, enum pki_reason why, const char *fmt, ...) PRINTF(3, 4);

/* --- der.c: definite lengths in their shortest form, low tags; nothing else is DER ------------ */
#define DER_INTEGER  0x02
#define DER_OCTETS   0x04
#define DER_OID	     0x06
#define DER_UTF8     0x0c
#define DER_SEQUENCE 0x30
#define DER_CONTEXT(n)	      (0x80 | (n))
#define DER_CONTEXT_LIST(n)   (0xa0 | (n))

MUST_CHECK bool der_take(struct rd *in, uint8_t tag, struct rd *value);
MUST_CHECK bool der_take_whole(struct rd *in, uint8_t tag, struct rd *whole); /* with its head */
static inline bool rd_equal(const struct rd *r, const void *p, size_t n)
{
	return r->left == n && __builtin_memcmp(r->p, p, n) == 0;
}

/* --- cert.c ---------------------------------------------------------------------------------- */
/* `which` names it in errors.  Re-encodes to the same bytes. */
int pki_cert_of_der(struct rd der, enum pki_reason why, const char *which, X509 **out,
		    struct err *err) MUST_CHECK;
/* The next certificate of a PEM text; 0 and *out NULL at its end. */
int pki_cert_of_pem(struct rd *pem, const char *which, X509 **out, struct err *err) MUST_CHECK;
bool pki_cert_equal(const X509 *a, const X509 *b);
bool pki_cert_is_p384(const X509 *x);
MUST_CHECK bool pki_cert_cn(const X509 *x, char out[PKI_TEXT_SIZE]);
MUST_CHECK bool pki_cert_extension(const X509 *x, const void *oid, size_t oid_size, struct rd *out);
int64_t pki_time(const ASN1_TIME *t); /* INT64_MIN when it is none */

/* --- chain.c --------------------------------------------------------------------------------- */
struct chain_words {
	enum pki_reason link, root, algorithm, constraints, time;
	const char *what; /* in errors: "certificate 1" */
	bool leaf_signs_only; /* the leaf's key usage is digitalSignature and nothing else */
};

/* cert[n - 1] must be the anchor. */
int pki_chain_verify(X509 *const *cert, size_t n, const struct pki_anchor *anchor, int64_t now,
		     const struct chain_words *words, struct err *err) MUST_CHECK;
int64_t pki_chain_not_after(X509 *const *cert, size_t n);

/* --- dice.c ---------------------------------------------------------------------------------- */
int pki_fwid_read(const X509 *leaf, const X509 *issuer, enum pki_family family,
		  uint8_t out[PKI_FWID_BYTES], struct err *err) MUST_CHECK;
