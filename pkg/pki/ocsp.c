/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One certificate, one question, one answer.  OpenSSL takes the bytes apart; who may sign, which times
 * hold and what an answer is about are decided here, since OpenSSL's own checks read the clock and accept
 * a responder from anywhere in the chain.
 */
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "pki/internal.h"

static inline void response_free(OCSP_RESPONSE *r)
{
	OCSP_RESPONSE_free(r);
}
DEFINE_AUTO(OCSP_RESPONSE *, response_free);
static inline void basic_free(OCSP_BASICRESP *b)
{
	OCSP_BASICRESP_free(b);
}
DEFINE_AUTO(OCSP_BASICRESP *, basic_free);
static inline void id_free(OCSP_CERTID *id)
{
	OCSP_CERTID_free(id);
}
DEFINE_AUTO(OCSP_CERTID *, id_free);
static inline void request_free(OCSP_REQUEST *r)
{
	OCSP_REQUEST_free(r);
}
DEFINE_AUTO(OCSP_REQUEST *, request_free);

static OCSP_CERTID *id_new(const struct pki_ocsp_query *q)
{
	return OCSP_cert_to_id(q->sha1 ? EVP_sha1() : EVP_sha384(), q->subject, q->issuer);
}

int pki_ocsp_request(const struct pki_ocsp_query *q, struct buf *out, struct err *err)
{
	AUTO(request_free) OCSP_REQUEST *r = OCSP_REQUEST_new();
	AUTO(id_free) OCSP_CERTID *id = id_new(q);
	unsigned char *der = NULL;
	int n, added;

	if (!r || !id || !OCSP_request_add0_id(r, id))
		return err_nomem(err);
	id = NULL; /* taken */
	if (q->nonce && OCSP_request_add1_nonce(r, (unsigned char *)q->nonce, PKI_OCSP_NONCE_BYTES) != 1)
		return err_nomem(err);
	n = i2d_OCSP_REQUEST(r, &der);
	if (n <= 0)
		return err_nomem(err);
	added = buf_add(out, der, (size_t)n, err);
	OPENSSL_free(der);
	return added;
}

/* --- who signed ------------------------------------------------------------------------------ */

/* ResponderID: by name, or by the SHA-1 of the key's bits (RFC 6960, 4.2.1). */
static bool is_responder(const OCSP_BASICRESP *b, X509 *x)
{
	const ASN1_OCTET_STRING *key_hash = NULL;
	const X509_NAME *name = NULL;
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned n;

	if (OCSP_resp_get0_id(b, &key_hash, &name) != 1)
		return false;
	if (name)
		return X509_NAME_cmp(name, X509_get_subject_name(x)) == 0;
	return key_hash && X509_pubkey_digest(x, EVP_sha1(), sum, &n) == 1 &&
	       ASN1_STRING_length(key_hash) == (int)n &&
	       memcmp(ASN1_STRING_get0_data(key_hash), sum, n) == 0;
}

static bool has_unknown_critical(const X509 *x)
{
	for (int i = 0; i < X509_get_ext_count(x); i++) {
		X509_EXTENSION *e = X509_get_ext(x, i);
		int nid = OBJ_obj2nid(X509_EXTENSION_get_object(e));

		if (X509_EXTENSION_get_critical(e) && nid != NID_basic_constraints &&
		    nid != NID_key_usage && nid != NID_ext_key_usage && nid != NID_id_pkix_OCSP_noCheck)
			return true;
	}
	return false;
}

/* What keeps a certificate from being one that `issuer` appointed to answer for it. */
static const char *appointee_fault(X509 *x, X509 *issuer, int64_t now)
{
	uint32_t usage = X509_get_key_usage(x), flags = X509_get_extension_flags(x);
	const ASN1_OCTET_STRING *aki = X509_get0_authority_key_id(x);

	if (X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(issuer)) ||
	    (aki && ASN1_OCTET_STRING_cmp(aki, X509_get0_subject_key_id(issuer))))
		return "the responder's certificate is of another issuer";
	if (X509_get_signature_nid(x) != NID_ecdsa_with_SHA384 || !pki_cert_is_p384(x))
		return "the responder's certificate is not of P-384 and SHA-384";
	if (X509_verify(x, X509_get0_pubkey(issuer)) != 1)
		return "the responder's certificate is not signed by the issuer";
	if (flags & EXFLAG_INVALID || has_unknown_critical(x))
		return "the responder's certificate has an extension that we do not know";
	if (!(flags & EXFLAG_XKUSAGE) || !(X509_get_extended_key_usage(x) & XKU_OCSP_SIGN))
		return "the responder's certificate is not for signing OCSP answers";
	if (usage != UINT32_MAX && !(usage & KU_DIGITAL_SIGNATURE))
		return "the responder's certificate is not for signing";
	if (now < pki_time(X509_get0_notBefore(x)) || now > pki_time(X509_get0_notAfter(x)))
		return "the responder's certificate is not valid now";
	return NULL;
}

static int signer_find(const OCSP_BASICRESP *b, X509 *issuer, int64_t now, X509 **out, struct err *err)
{
	const STACK_OF(X509) *certs = OCSP_resp_get0_certs(b);

	if (is_responder(b, issuer)) {
		*out = issuer;
		return 0;
	}
	if (sk_X509_num(certs) > PKI_OCSP_MAX_CERTS)
		return pki_refuse(err, PKI_OCSP_SIGNER, "more than %d certificates", PKI_OCSP_MAX_CERTS);
	for (int i = 0; i < sk_X509_num(certs); i++) {
		X509 *x = sk_X509_value(certs, i);
		const char *fault;

		if (!is_responder(b, x))
			continue;
		fault = appointee_fault(x, issuer, now);
		if (fault)
			return pki_refuse(err, PKI_OCSP_SIGNER, "%s", fault);
		*out = x;
		return 0;
	}
	return pki_refuse(err, PKI_OCSP_SIGNER, "no certificate of the responder");
}

static int signature_check(OCSP_BASICRESP *b, X509 *signer, struct err *err)
{
	const X509_ALGOR *alg = OCSP_resp_get0_tbs_sigalg(b);
	const ASN1_OBJECT *oid;

	X509_ALGOR_get0(&oid, NULL, NULL, alg);
	if (OBJ_obj2nid(oid) != NID_ecdsa_with_SHA384)
		return pki_refuse(err, PKI_OCSP_SIGNATURE, "not signed with ECDSA and SHA-384");
	if (ASN1_item_verify(ASN1_ITEM_rptr(OCSP_RESPDATA), alg, OCSP_resp_get0_signature(b),
			     OCSP_resp_get0_respdata(b), X509_get0_pubkey(signer)) != 1)
		return pki_refuse(err, PKI_OCSP_SIGNATURE, "not by the responder's key");
	return 0;
}

/* --- what it says ---------------------------------------------------------------------------- */

static int response_parse(struct rd der, OCSP_BASICRESP **out, struct err *err)
{
	AUTO(response_free) OCSP_RESPONSE *r = NULL;
	const unsigned char *p = der.p;

	if (der.left == 0 || der.left > PKI_OCSP_MAX_BYTES)
		return pki_refuse(err, PKI_OCSP_STATUS, "%zu bytes, not 1 to %d", der.left,
				  PKI_OCSP_MAX_BYTES);
	r = d2i_OCSP_RESPONSE(NULL, &p, (long)der.left);
	if (!r || p != der.p + der.left)
		return pki_refuse(err, PKI_OCSP_STATUS, "%s",
				  r ? "bytes follow the answer" : "not an OCSP response");
	if (OCSP_response_status(r) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
		return pki_refuse(err, PKI_OCSP_STATUS, "the responder says %s",
				  OCSP_response_status_str(OCSP_response_status(r)));
	*out = OCSP_response_get1_basic(r);
	if (!*out)
		return pki_refuse(err, PKI_OCSP_STATUS, "no basic response in it");
	return 0;
}

static int cert_id_check(OCSP_BASICRESP *b, const struct pki_ocsp_query *q, struct err *err)
{
	AUTO(id_free) OCSP_CERTID *want = id_new(q);

	if (!want)
		return err_nomem(err);
	if (OCSP_resp_count(b) != 1)
		return pki_refuse(err, PKI_OCSP_CERT_ID, "%d answers, not one", OCSP_resp_count(b));
	if (OCSP_id_cmp(OCSP_SINGLERESP_get0_id(OCSP_resp_get0(b, 0)), want))
		return pki_refuse(err, PKI_OCSP_CERT_ID, "the answer is about another certificate");
	return 0;
}

static int nonce_check(OCSP_BASICRESP *b, const uint8_t *want, struct err *err)
{
	int i = OCSP_BASICRESP_get_ext_by_NID(b, NID_id_pkix_OCSP_Nonce, -1);
	const ASN1_OCTET_STRING *s;
	struct rd ext, nonce;

	if (!want)
		return 0;
	if (i < 0 || OCSP_BASICRESP_get_ext_by_NID(b, NID_id_pkix_OCSP_Nonce, i) >= 0)
		return pki_refuse(err, PKI_OCSP_NONCE, "%s", i < 0 ? "no nonce" : "two nonces");
	s = X509_EXTENSION_get_data(OCSP_BASICRESP_get_ext(b, i));
	ext = rd_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
	if (!der_take(&ext, DER_OCTETS, &nonce) || !rd_end(&ext) ||
	    !rd_equal(&nonce, want, PKI_OCSP_NONCE_BYTES))
		return pki_refuse(err, PKI_OCSP_NONCE, "not the nonce that was asked with");
	return 0;
}

static int times_check(const struct pki_ocsp_answer *a, const struct pki_ocsp_query *q, int64_t now,
		       struct err *err)
{
	int64_t age = now - a->produced_at, slack = q->clock_slack_s ? q->clock_slack_s : PKI_OCSP_SKEW_S;

	if (q->nonce && (age > slack || age < -slack))
		return pki_refuse(err, PKI_OCSP_TIME, "the clock is wrong by about %" PRId64 " s", age);
	if (a->this_update > now + PKI_OCSP_SKEW_S || age < -PKI_OCSP_SKEW_S)
		return pki_refuse(err, PKI_OCSP_TIME, "the answer is of the future");
	if (now > a->usable_until + PKI_OCSP_SKEW_S)
		return pki_refuse(err, PKI_OCSP_TIME, "the answer ended %" PRId64 " s ago",
				  now - a->usable_until);
	if (age > PKI_OCSP_MAX_AGE_S + PKI_OCSP_SKEW_S)
		return pki_refuse(err, PKI_OCSP_TIME, "the answer is %" PRId64 " s old", age);
	return 0;
}

static const char *reason_name(int reason)
{
	static const char *const names[] = {
		[OCSP_REVOKED_STATUS_UNSPECIFIED] = "unspecified",
		[OCSP_REVOKED_STATUS_KEYCOMPROMISE] = "key_compromise",
		[OCSP_REVOKED_STATUS_CACOMPROMISE] = "ca_compromise",
		[OCSP_REVOKED_STATUS_AFFILIATIONCHANGED] = "affiliation_changed",
		[OCSP_REVOKED_STATUS_SUPERSEDED] = "superseded",
		[OCSP_REVOKED_STATUS_CESSATIONOFOPERATION] = "cessation_of_operation",
		[OCSP_REVOKED_STATUS_CERTIFICATEHOLD] = "certificate_hold",
		[OCSP_REVOKED_STATUS_REMOVEFROMCRL] = "remove_from_crl",
		[9] = "privilege_withdrawn",
		[10] = "aa_compromise",
	};

	return reason >= 0 && (size_t)reason < ARRAY_LEN(names) && names[reason] ? names[reason]
										  : "unspecified";
}

static int answer_read(OCSP_BASICRESP *b, struct pki_ocsp_answer *out, struct err *err)
{
	ASN1_GENERALIZEDTIME *from = NULL, *to = NULL;
	int reason = -1;
	int status = OCSP_single_get0_status(OCSP_resp_get0(b, 0), &reason, NULL, &from, &to);

	*out = (struct pki_ocsp_answer){ .status = PKI_OCSP_IS_UNKNOWN, .reason = "" };
	if (status == V_OCSP_CERTSTATUS_GOOD)
		out->status = PKI_OCSP_IS_GOOD;
	if (status == V_OCSP_CERTSTATUS_REVOKED) {
		out->status = reason == OCSP_REVOKED_STATUS_CERTIFICATEHOLD ? PKI_OCSP_IS_ON_HOLD
									    : PKI_OCSP_IS_REVOKED;
		out->reason = reason_name(reason);
	}
	out->produced_at = pki_time(OCSP_resp_get0_produced_at(b));
	out->this_update = from ? pki_time(from) : INT64_MIN;
	if (out->produced_at == INT64_MIN || out->this_update == INT64_MIN)
		return pki_refuse(err, PKI_OCSP_TIME, "the answer's times cannot be read");
	out->usable_until = to ? pki_time(to) : out->this_update + PKI_OCSP_NO_NEXT_S;
	return 0;
}

int pki_ocsp_check(struct rd der, const struct pki_ocsp_query *q, int64_t now, struct pki_ocsp_answer *out,
		   struct err *err)
{
	AUTO(basic_free) OCSP_BASICRESP *b = NULL;
	struct pki_ocsp_answer a;
	X509 *signer = NULL;

	if (response_parse(der, &b, err) < 0 || signer_find(b, q->issuer, now, &signer, err) < 0 ||
	    signature_check(b, signer, err) < 0 || cert_id_check(b, q, err) < 0 ||
	    nonce_check(b, q->nonce, err) < 0 || answer_read(b, &a, err) < 0 ||
	    times_check(&a, q, now, err) < 0)
		return -1;
	ERR_clear_error();
	*out = a;
	return 0;
}

int pki_ocsp_verdict(const struct pki_ocsp_answer *a, bool allow_hold, struct err *err)
{
	switch (a->status) {
	case PKI_OCSP_IS_GOOD:
		return 0;
	case PKI_OCSP_IS_ON_HOLD:
		return allow_hold ? 0 : pki_refuse(err, PKI_OCSP_HOLD, "the certificate is on hold");
	case PKI_OCSP_IS_REVOKED:
		return pki_refuse(err, PKI_OCSP_REVOKED, "the certificate was revoked: %s", a->reason);
	case PKI_OCSP_IS_UNKNOWN:
		break;
	}
	return pki_refuse(err, PKI_OCSP_UNKNOWN, "the responder does not know the certificate");
}
