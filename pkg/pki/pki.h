/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki - the certificate chains of devices and of reference values, from a leaf to a pinned root
 * (RFC 5280; the leaf's DICE extensions after TCG DICE Attestation Architecture).
 *
 * In:       PEM or DER as somebody sent it, trusted for nothing; an anchor; the time, in seconds since
 *           1970, UTC: this package asks no clock.
 * Out:      struct pki_device or struct pki_rim_signer, made only from a chain that passed every rule.
 * Owns:     both own their certificates; inputs may go away at once.
 * Fails:    ERR_INVALID for what is not well-formed, ERR_UNTRUSTED for what is but breaks a rule; err.code
 *           is then an enum pki_reason, and the text begins with its word and names the certificate and
 *           the rule.  ERR_SYSTEM when memory is short.
 * Does not: send anything, compare families or identities with anything outside of the chain.
 */
#pragma once
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rd.h"

#define PKI_DEVICE_CERTS       5
#define PKI_RIM_CERTS	       4
#define PKI_CHAIN_MAX_BYTES    5120 /* of a device's PEM */
#define PKI_CERT_MAX_BYTES     4096 /* of one certificate's DER */
#define PKI_FWID_BYTES	       48
#define PKI_PDI_BYTES	       8
#define PKI_TEXT_SIZE	       64

enum pki_reason {
	PKI_OK,
	PKI_CHAIN_FORMAT = 100, /* "chain-format": no PEM, no DER */
	PKI_CHAIN_LENGTH,	/* "chain-length": not exactly five, too many bytes */
	PKI_CHAIN_LINK,		/* "chain": an issuer is not the next one, a signature is not its */
	PKI_CHAIN_ROOT,		/* "chain-root" */
	PKI_CHAIN_ALGORITHM,	/* "chain-algorithm": only P-384 and ECDSA with SHA-384 */
	PKI_CHAIN_CONSTRAINTS,	/* "chain-constraints": CA, key usage, unknown critical extensions */
	PKI_CHAIN_TIME,		/* "chain-time" */
	PKI_CHAIN_FAMILY,	/* "chain-family": names of two chip families in one chain, or an unknown one */
	PKI_CHAIN_IDENTITY,	/* "chain-identity": the device's id cannot be read */
	PKI_FWID,		/* "fwid": the leaf's DICE extension is missing or wrong */
	PKI_RIM_CHAIN,		/* "rim-chain" */
	PKI_RIM_TIME,		/* "rim-time" */
	PKI_OCSP_STATUS,	/* "ocsp-status": no answer in it */
	PKI_OCSP_SIGNER,	/* "ocsp-signer": not the issuer, nor whom the issuer appointed */
	PKI_OCSP_SIGNATURE,	/* "ocsp-signature" */
	PKI_OCSP_CERT_ID,	/* "ocsp-certid": an answer to another question */
	PKI_OCSP_NONCE,		/* "ocsp-nonce" */
	PKI_OCSP_TIME,		/* "ocsp-time": too old, from the future, or our clock is wrong */
	PKI_OCSP_REVOKED,	/* "ocsp-revoked" */
	PKI_OCSP_HOLD,		/* "ocsp-hold" */
	PKI_OCSP_UNKNOWN,	/* "ocsp-unknown" */
	PKI_N_REASONS
};
const char *pki_reason_word(enum pki_reason reason);

/* --- anchors --------------------------------------------------------------------------------- */

enum pki_root { PKI_ROOT_DEVICE, PKI_ROOT_RIM };

/* A root certificate that is trusted for its bytes.  NVIDIA's are built in; an operator may name others,
 * and whatever is verified with one of those says so. */
struct pki_anchor {
	X509 *cert;
	bool named_by_operator;
};

int pki_anchor_builtin(enum pki_root which, struct pki_anchor *out, struct err *err) MUST_CHECK;
/* Exactly one PEM certificate, which must be a self-issued CA on P-384. */
int pki_anchor_load(struct rd pem, struct pki_anchor *out, struct err *err) MUST_CHECK;
void pki_anchor_clear(struct pki_anchor *a);

/* --- devices --------------------------------------------------------------------------------- */

enum pki_family { PKI_GH100, PKI_GB100, PKI_LS10, PKI_N_FAMILIES };
const char *pki_family_name(enum pki_family family); /* "GH100", "GB100", "LS_10" */

struct pki_device {
	enum pki_family family;
	bool is_switch;
	bool anchor_named;	     /* the anchor was named by the operator */
	uint8_t pdi[PKI_PDI_BYTES];  /* who it is: from the serial number of certificate 1 */
	uint8_t fwid[PKI_FWID_BYTES]; /* of the firmware that holds the leaf's key */
	char model[PKI_TEXT_SIZE];   /* subject of certificate 1, claim hwmodel */
	char ueid[PKI_TEXT_SIZE];    /* serial number of certificate 0, decimal */
	int64_t not_after;	     /* the earliest of the chain */
	X509 *cert[PKI_DEVICE_CERTS]; /* leaf first, root last */
};

/* Five certificates in PEM, leaf first, with white space around them and nothing else; the last must be
 * the anchor.  Names, key identifiers, algorithms, constraints, signatures, validity, chip family,
 * device identity and FWID: in this order, the first failure is told. */
int pki_device_verify(struct rd pem, const struct pki_anchor *anchor, int64_t now,
		      struct pki_device **out, struct err *err) MUST_CHECK;
void pki_device_free(struct pki_device *d);
DEFINE_AUTO(struct pki_device *, pki_device_free);
EVP_PKEY *pki_device_key(const struct pki_device *d); /* the leaf's; lives as long as d */

/* --- signers of reference values ------------------------------------------------------------- */

struct pki_rim_signer {
	enum pki_family family; /* that its issuers vouch for */
	bool anchor_named;
	int64_t not_after;
	X509 *cert[PKI_RIM_CERTS]; /* signer first; the last is the anchor */
};

/* Four certificates in DER, signer first, the last being the anchor; or three without it. */
int pki_rim_signer_verify(const struct rd *der, size_t n, const struct pki_anchor *anchor, int64_t now,
			  struct pki_rim_signer **out, struct err *err) MUST_CHECK;
void pki_rim_signer_free(struct pki_rim_signer *s);
DEFINE_AUTO(struct pki_rim_signer *, pki_rim_signer_free);
EVP_PKEY *pki_rim_signer_key(const struct pki_rim_signer *s);

/* --- revocation (RFC 6960) ------------------------------------------------------------------- */

#define PKI_OCSP_MAX_BYTES   16384
#define PKI_OCSP_MAX_CERTS   4 /* in an answer; one is usual */
#define PKI_OCSP_NONCE_BYTES 32
#define PKI_OCSP_SKEW_S	     300
#define PKI_OCSP_MAX_AGE_S   86400 /* since it was produced */
#define PKI_OCSP_NO_NEXT_S   3600  /* how long an answer without nextUpdate holds */

struct pki_ocsp_query {
	X509 *subject, *issuer; /* neighbours in a chain that was verified; borrowed */
	const uint8_t *nonce;	/* PKI_OCSP_NONCE_BYTES, or NULL: none asked for, none expected */
	bool sha1;		/* ask with SHA-1 instead of SHA-384 as the hash of the issuer */
	int64_t clock_slack_s;	/* with a nonce: how far `now` may be from producedAt; 0: PKI_OCSP_SKEW_S */
};

/* Appends the DER of a request. */
int pki_ocsp_request(const struct pki_ocsp_query *q, struct buf *out, struct err *err) MUST_CHECK;

enum pki_ocsp_status { PKI_OCSP_IS_GOOD, PKI_OCSP_IS_REVOKED, PKI_OCSP_IS_ON_HOLD, PKI_OCSP_IS_UNKNOWN };

struct pki_ocsp_answer {
	enum pki_ocsp_status status;
	const char *reason; /* of a revocation, "key_compromise"; else "" */
	int64_t produced_at, this_update;
	int64_t usable_until; /* without the skew */
};

/* 0 when the answer can be relied upon, whatever it says.  A nonce that matches makes producedAt a proof
 * of the time; when `now` is elsewhere, the error says that the clock is wrong. */
int pki_ocsp_check(struct rd der, const struct pki_ocsp_query *q, int64_t now, struct pki_ocsp_answer *out,
		   struct err *err) MUST_CHECK;

/* 0 when good; on hold only if `allow_hold`, which is for signers of RIMs and never for devices. */
int pki_ocsp_verdict(const struct pki_ocsp_answer *a, bool allow_hold, struct err *err) MUST_CHECK;
