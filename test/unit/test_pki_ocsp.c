/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OCSP answer counts when the right one signed it about the right certificate at the right time: each
 * way of not being so is a row.  Answers are made here with the system's time in them, since OpenSSL
 * writes no other; then the clock that is handed in moves.
 */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

#include "own_pki.h"
#include "pki/pki.h"
#include "table.h"
#include "vectors.h"

#define AUTO_CHAIN CLEANUP(own_chain_clear) struct own_chain
#define SUBJECT	   1
#define ISSUER	   2
#define HOUR	   3600
#define DAY	   (24 * HOUR)
#define BY_ISSUER  (-1) /* instead of an enum own_responder */
#define NO_NEXT	   INT64_C(-1)

enum spoil { NONE, TRAILING, FLIP, CUT, OTHER_SUBJECT, TWO_ANSWERS, NO_CERTS, SHA256_SIGNATURE };

struct asked {
	const char *name;
	int responder; /* enum own_responder or BY_ISSUER */
	enum spoil spoil;
	int status, reason;
	const char *nonce_out, *nonce_back; /* their letter, 32 times; NULL: none */
	int64_t next, now; /* seconds after thisUpdate, which is producedAt */
	enum pki_reason wants;
	const char *says;
};

#define GOOD_ V_OCSP_CERTSTATUS_GOOD, 0

static const struct asked answers[] = {
	{ "by the issuer", BY_ISSUER, NONE, GOOD_, "n", "n", DAY, 0, PKI_OK, "" },
	{ "by an appointee", OWN_RESPONDER_GOOD, NONE, GOOD_, "n", "n", DAY, 0, PKI_OK, "" },
	{ "stored, at its end", OWN_RESPONDER_GOOD, NONE, GOOD_, NULL, NULL, DAY, DAY, PKI_OK, "" },
	{ "stored, with somebody's nonce", OWN_RESPONDER_GOOD, NONE, GOOD_, NULL, "x", DAY, 0, PKI_OK, "" },
	{ "an appointee without EKU", OWN_RESPONDER_NO_EKU, NONE, GOOD_, "n", "n", DAY, 0, PKI_OCSP_SIGNER,
	  "not for signing OCSP" },
	{ "an appointee of another", OWN_RESPONDER_OTHER_ISSUER, NONE, GOOD_, "n", "n", DAY, 0, PKI_OCSP_SIGNER,
	  "of another issuer" },
	{ "appointed by himself", OWN_RESPONDER_OTHER_KEY, NONE, GOOD_, "n", "n", DAY, 0, PKI_OCSP_SIGNER,
	  "not signed by the issuer" },
	{ "an appointee of yesterday", OWN_RESPONDER_EXPIRED, NONE, GOOD_, "n", "n", DAY, 0, PKI_OCSP_SIGNER,
	  "not valid now" },
	{ "an appointee that may not sign", OWN_RESPONDER_NO_SIGNING, NONE, GOOD_, "n", "n", DAY, 0,
	  PKI_OCSP_SIGNER, "not for signing" },
	{ "no certificate", OWN_RESPONDER_GOOD, NO_CERTS, GOOD_, "n", "n", DAY, 0, PKI_OCSP_SIGNER,
	  "no certificate" },
	{ "a flipped bit", BY_ISSUER, FLIP, GOOD_, "n", "n", DAY, 0, PKI_OCSP_SIGNATURE, "responder's key" },
	{ "SHA-256", BY_ISSUER, SHA256_SIGNATURE, GOOD_, "n", "n", DAY, 0, PKI_OCSP_SIGNATURE, "SHA-384" },
	{ "a byte more", BY_ISSUER, TRAILING, GOOD_, "n", "n", DAY, 0, PKI_OCSP_STATUS, "bytes follow" },
	{ "a byte less", BY_ISSUER, CUT, GOOD_, "n", "n", DAY, 0, PKI_OCSP_STATUS, "not an OCSP" },
	{ "about another", BY_ISSUER, OTHER_SUBJECT, GOOD_, "n", "n", DAY, 0, PKI_OCSP_CERT_ID, "another" },
	{ "about two", BY_ISSUER, TWO_ANSWERS, GOOD_, "n", "n", DAY, 0, PKI_OCSP_CERT_ID, "2 answers" },
	{ "another nonce", BY_ISSUER, NONE, GOOD_, "n", "x", DAY, 0, PKI_OCSP_NONCE, "not the nonce" },
	{ "no nonce", BY_ISSUER, NONE, GOOD_, "n", NULL, DAY, 0, PKI_OCSP_NONCE, "no nonce" },
	{ "our clock is late", BY_ISSUER, NONE, GOOD_, "n", "n", DAY, -HOUR, PKI_OCSP_TIME, "clock is wrong" },
	{ "our clock is early", BY_ISSUER, NONE, GOOD_, "n", "n", DAY, HOUR, PKI_OCSP_TIME, "clock is wrong" },
	{ "from the future", BY_ISSUER, NONE, GOOD_, NULL, NULL, DAY, -HOUR, PKI_OCSP_TIME, "future" },
	{ "over since an hour", BY_ISSUER, NONE, GOOD_, NULL, NULL, HOUR, 2 * HOUR, PKI_OCSP_TIME, "ended 3600 s" },
	{ "without an end, in its hour", BY_ISSUER, NONE, GOOD_, NULL, NULL, NO_NEXT, HOUR, PKI_OK, "" },
	{ "without an end, later", BY_ISSUER, NONE, GOOD_, NULL, NULL, NO_NEXT, 2 * HOUR, PKI_OCSP_TIME, "ended" },
	{ "an end far away", BY_ISSUER, NONE, GOOD_, NULL, NULL, 30 * DAY, 2 * DAY, PKI_OCSP_TIME, "s old" },
	{ "revoked", BY_ISSUER, NONE, V_OCSP_CERTSTATUS_REVOKED, OCSP_REVOKED_STATUS_KEYCOMPROMISE, "n", "n", DAY,
	  0, PKI_OCSP_REVOKED, "key_compromise" },
	{ "revoked without a reason", BY_ISSUER, NONE, V_OCSP_CERTSTATUS_REVOKED, OCSP_REVOKED_STATUS_NOSTATUS,
	  "n", "n", DAY, 0, PKI_OCSP_REVOKED, "unspecified" },
	{ "on hold", BY_ISSUER, NONE, V_OCSP_CERTSTATUS_REVOKED, OCSP_REVOKED_STATUS_CERTIFICATEHOLD, "n", "n", DAY,
	  0, PKI_OCSP_HOLD, "on hold" },
	{ "unknown", BY_ISSUER, NONE, V_OCSP_CERTSTATUS_UNKNOWN, 0, "n", "n", DAY, 0, PKI_OCSP_UNKNOWN, "not know" },
};

static void answer_add(OCSP_BASICRESP *b, const struct own_chain *c, size_t subject, const struct asked *row,
		       time_t now)
{
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha384(), c->cert[subject], c->cert[ISSUER]);
	ASN1_TIME *from = ASN1_GENERALIZEDTIME_set(NULL, now);
	ASN1_TIME *to = row->next == NO_NEXT ? NULL : ASN1_GENERALIZEDTIME_set(NULL, now + row->next);

	cr_assert(OCSP_basic_add1_status(b, id, row->status, row->reason, from, from, to));
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	OCSP_CERTID_free(id);
}

static size_t answer_make(const struct own_chain *c, const struct asked *row, time_t now, unsigned char **der)
{
	OCSP_BASICRESP *b = OCSP_BASICRESP_new();
	OCSP_RESPONSE *r;
	X509 *cert = NULL;
	EVP_PKEY *key = NULL;
	const EVP_MD *md = row->spoil == SHA256_SIGNATURE ? EVP_sha256() : EVP_sha384();
	bool issuer = row->responder == BY_ISSUER;
	int n;

	answer_add(b, c, row->spoil == OTHER_SUBJECT ? 0 : SUBJECT, row, now);
	if (row->spoil == TWO_ANSWERS)
		answer_add(b, c, 0, row, now);
	if (row->nonce_back) {
		uint8_t nonce[PKI_OCSP_NONCE_BYTES];

		memset(nonce, *row->nonce_back, sizeof(nonce));
		OCSP_basic_add1_nonce(b, nonce, sizeof(nonce));
	}
	if (!issuer)
		own_responder(c, ISSUER, (enum own_responder)row->responder, &cert, &key);
	cr_assert(OCSP_basic_sign(b, issuer ? c->cert[ISSUER] : cert, issuer ? c->key[ISSUER] : key, md, NULL,
				  OCSP_RESPID_KEY | (row->spoil == NO_CERTS ? OCSP_NOCERTS : 0)));
	r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, b);
	n = i2d_OCSP_RESPONSE(r, der);
	cr_assert(n > 0);
	OCSP_RESPONSE_free(r);
	OCSP_BASICRESP_free(b);
	X509_free(cert);
	EVP_PKEY_free(key);
	return (size_t)n;
}

static enum pki_reason judge(struct rd der, const struct pki_ocsp_query *q, int64_t now,
			     struct pki_ocsp_answer *a, struct err *err)
{
	if (pki_ocsp_check(der, q, now, a, err) < 0 || pki_ocsp_verdict(a, false, err) < 0) {
		cr_assert_eq(err->kind, ERR_UNTRUSTED, "%s", err_text(err));
		cr_assert_eq(ERR_peek_error(), 0, "OpenSSL's queue is not empty after: %s", err_text(err));
		return (enum pki_reason)err->code;
	}
	return PKI_OK;
}

TABLE_TEST(pki, ocsp_answers_get_their_verdict, answers)
{
	struct err err = ERR_INIT;
	struct pki_ocsp_answer a;
	unsigned char *der = NULL;
	uint8_t nonce[PKI_OCSP_NONCE_BYTES], *bytes;
	time_t now = time(NULL);
	struct pki_ocsp_query q = { .nonce = row->nonce_out ? nonce : NULL };
	enum pki_reason got;
	AUTO_CHAIN c;
	size_t n;

	own_device_chain(&c, "GH100", OWN_GOOD);
	memset(nonce, row->nonce_out ? *row->nonce_out : 0, sizeof(nonce));
	q.subject = c.cert[SUBJECT];
	q.issuer = c.cert[ISSUER];
	n = answer_make(&c, row, now, &der);
	bytes = calloc(1, n + 1);
	cr_assert(bytes);
	memcpy(bytes, der, n);
	OPENSSL_free(der);
	if (row->spoil == FLIP)
		((uint8_t *)memmem(bytes, n, "nnnn", 4))[3] ^= 1; /* in the nonce: signed */
	n += (row->spoil == TRAILING) - (row->spoil == CUT);
	got = judge(rd_of(bytes, n), &q, now + row->now, &a, &err);
	free(bytes);
	cr_assert_eq(got, row->wants, "%s: %s, not %s: %s", row->name, pki_reason_word(got),
		     pki_reason_word(row->wants), err_text(&err));
	cr_assert(strstr(err_text(&err), row->says), "%s: %s", row->name, err_text(&err));
	if (got == PKI_OCSP_HOLD)
		cr_assert_eq(pki_ocsp_verdict(&a, true, &err), 0);
	if (got == PKI_OCSP_REVOKED || got == PKI_OCSP_UNKNOWN)
		cr_assert_eq(pki_ocsp_verdict(&a, true, &err), -1);
}

/* --- genuine and made vectors ---------------------------------------------------------------- */

static X509 *vector_cert(const char *name, size_t i)
{
	AUTO_BUF text = BUF_INIT(VECTOR_MAX_BYTES);
	X509 *x = NULL;
	BIO *bio;

	vector_read(name, &text);
	bio = BIO_new_mem_buf(text.data, (int)text.len);
	for (size_t k = 0; k <= i; k++) {
		X509_free(x);
		x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	}
	BIO_free(bio);
	cr_assert(x, "%s: certificate %zu", name, i);
	return x;
}

#define DEVICE_CHAIN "synthetic/chain/ok.pem", 1
#define MADE_NOW     INT64_C(1780315200) /* 2026-06-01T12:00:00Z; the answers are an hour old */
#define GENUINE	     "gpu/h100-550.90.07/chain.pem"
#define GENUINE_NOW  INT64_C(1755777600) /* 2025-08-21T12:00:00Z */

static const struct {
	const char *answer, *chain;
	size_t subject;
	int64_t now;
	bool nonce, sha1;
	enum pki_reason reason;
} vectors[] = {
#define MADE(name, why)	    { "synthetic/ocsp/" name ".der", DEVICE_CHAIN, MADE_NOW, true, false, why }
#define STORED(name, why)   { "synthetic/ocsp/" name ".der", DEVICE_CHAIN, MADE_NOW, false, false, why }
#define CAPTURED(name, i)   "gpu/h100-550.90.07/ocsp/gpu_certificate_" name ".der", GENUINE, i
	MADE("ok/device-1-ik", PKI_OK),
	{ "synthetic/ocsp/ok/device-2-ica.der", "synthetic/chain/ok.pem", 2, MADE_NOW, true, false, PKI_OK },
	{ "synthetic/ocsp/ok/device-3-identity.der", "synthetic/chain/ok.pem", 3, MADE_NOW, true, false, PKI_OK },
	{ "synthetic/ocsp/ok/rim-0-driver-signer.der", "synthetic/pki/rim-chain-driver.pem", 0, MADE_NOW, true,
	  false, PKI_OK },
	{ "synthetic/ocsp/ok/rim-0-vbios-signer.der", "synthetic/pki/rim-chain-vbios.pem", 0, MADE_NOW, true, false,
	  PKI_OK },
	{ "synthetic/ocsp/ok/rim-1-l3.der", "synthetic/pki/rim-chain-driver.pem", 1, MADE_NOW, true, false, PKI_OK },
	{ "synthetic/ocsp/ok/rim-2-l2.der", "synthetic/pki/rim-chain-driver.pem", 2, MADE_NOW, true, false, PKI_OK },
	MADE("bad/revoked-keycompromise", PKI_OCSP_REVOKED), MADE("bad/revoked-no-reason", PKI_OCSP_REVOKED),
	MADE("bad/hold-device", PKI_OCSP_HOLD), MADE("bad/unknown", PKI_OCSP_UNKNOWN),
	{ "synthetic/ocsp/bad/hold-rim-signer.der", "synthetic/pki/rim-chain-driver.pem", 0, MADE_NOW, true, false,
	  PKI_OCSP_HOLD },
	MADE("bad/expired", PKI_OCSP_TIME), MADE("bad/no-nextupdate", PKI_OCSP_TIME),
	STORED("bad/expired", PKI_OCSP_TIME), STORED("bad/no-nextupdate", PKI_OCSP_TIME),
	MADE("bad/nonce-wrong", PKI_OCSP_NONCE), MADE("bad/nonce-missing", PKI_OCSP_NONCE),
	STORED("bad/nonce-wrong", PKI_OK), STORED("bad/nonce-missing", PKI_OK),
	MADE("bad/other-serial", PKI_OCSP_CERT_ID), MADE("bad/signer-no-eku", PKI_OCSP_SIGNER),
	MADE("bad/signer-other-ca", PKI_OCSP_SIGNER), MADE("bad/signer-issued-by-subject", PKI_OCSP_SIGNER),
	MADE("bad/signature-bad", PKI_OCSP_SIGNATURE), MADE("bad/try-later", PKI_OCSP_STATUS),
	MADE("bad/malformed-request", PKI_OCSP_STATUS), MADE("bad/html", PKI_OCSP_STATUS),
	MADE("bad/trailing-bytes", PKI_OCSP_STATUS), MADE("special/signed-by-issuer", PKI_OK),
	MADE("special/sha1-certid", PKI_OCSP_CERT_ID),
	{ "synthetic/ocsp/special/sha1-certid.der", DEVICE_CHAIN, MADE_NOW, true, true, PKI_OK },
	{ CAPTURED("l4", 1), GENUINE_NOW, false, false, PKI_OK },
	{ CAPTURED("l3", 2), GENUINE_NOW, false, false, PKI_OK },
	{ CAPTURED("l2", 3), GENUINE_NOW, false, false, PKI_OK },
	{ CAPTURED("l4", 1), GENUINE_NOW, true, false, PKI_OCSP_NONCE },
	{ CAPTURED("l4", 1), GENUINE_NOW + DAY, false, false, PKI_OCSP_TIME },
	{ CAPTURED("l4", 1), GENUINE_NOW - DAY, false, false, PKI_OCSP_TIME },
	{ CAPTURED("l4", 2), GENUINE_NOW, false, false, PKI_OCSP_SIGNER },
};

static void nonce_fill(uint8_t out[PKI_OCSP_NONCE_BYTES])
{
	AUTO_BUF hex = BUF_INIT(VECTOR_MAX_BYTES);

	vector_read("synthetic/ocsp/nonce.hex", &hex);
	for (size_t i = 0; i < PKI_OCSP_NONCE_BYTES; i++)
		cr_assert_eq(sscanf(buf_str(&hex) + 2 * i, "%2hhx", &out[i]), 1);
}

TABLE_TEST(pki, ocsp_vectors_get_their_verdict, vectors)
{
	AUTO_BUF der = BUF_INIT(VECTOR_MAX_BYTES);
	uint8_t nonce[PKI_OCSP_NONCE_BYTES];
	struct err err = ERR_INIT;
	struct pki_ocsp_answer a;
	struct pki_ocsp_query q;
	enum pki_reason got;

	NEED_VECTORS();
	nonce_fill(nonce);
	vector_read(row->answer, &der);
	q = (struct pki_ocsp_query){ .subject = vector_cert(row->chain, row->subject),
				     .issuer = vector_cert(row->chain, row->subject + 1),
				     .nonce = row->nonce ? nonce : NULL,
				     .sha1 = row->sha1,
				     .clock_slack_s = 31 * DAY };
	got = judge(buf_rd(&der), &q, row->now, &a, &err);
	X509_free(q.subject);
	X509_free(q.issuer);
	cr_assert_eq(got, row->reason, "%s: %s, not %s: %s", row->answer, pki_reason_word(got),
		     pki_reason_word(row->reason), err_text(&err));
}

Test(pki, ocsp_request_is_as_others_make_it)
{
	AUTO_BUF want = BUF_INIT(VECTOR_MAX_BYTES), got = BUF_INIT(PKI_OCSP_MAX_BYTES);
	uint8_t nonce[PKI_OCSP_NONCE_BYTES];
	struct err err = ERR_INIT;
	struct pki_ocsp_query q;

	NEED_VECTORS();
	nonce_fill(nonce);
	vector_read("synthetic/ocsp/request/device-1-ik.der", &want);
	q = (struct pki_ocsp_query){ .subject = vector_cert("synthetic/chain/ok.pem", 1),
				     .issuer = vector_cert("synthetic/chain/ok.pem", 2),
				     .nonce = nonce };
	cr_assert_eq(pki_ocsp_request(&q, &got, &err), 0, "%s", err_text(&err));
	X509_free(q.subject);
	X509_free(q.issuer);
	cr_assert_eq(got.len, want.len);
	cr_assert_eq(memcmp(got.data, want.data, want.len), 0);
}
