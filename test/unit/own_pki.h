/* SPDX-License-Identifier: Apache-2.0 */
/*
 * own_pki - device and RIM chains under roots of the test's own, right or with one fault each.
 * Certificates are leaf first; everything is made anew by each call.
 */
#pragma once
#include <openssl/types.h>
#include <stddef.h>

#define OWN_CERTS 5
#define OWN_NOW	  1780315200 /* 2026-06-01T12:00:00Z; certificates are valid 2025-01-01 .. 9999-12-31 */

enum own_fault {
	OWN_GOOD,
	OWN_NO_AKI,		 /* certificate 2 */
	OWN_WRONG_AKI,		 /* certificate 1 names the key of certificate 3 */
	OWN_NAME_CASE,		 /* certificate 1's issuer in capitals */
	OWN_LEAF_P256,		 /* its key */
	OWN_SHA256,		 /* certificate 1 is signed with ECDSA and SHA-256 */
	OWN_WRONG_SIGNER,	 /* certificate 0 is signed by the key of certificate 2 */
	OWN_IK_NOT_CA,		 /* certificate 1 */
	OWN_IK_NO_CERTSIGN,	 /* certificate 1 */
	OWN_LEAF_CA,
	OWN_LEAF_NO_USAGE,	 /* no key usage at all */
	OWN_LEAF_TWO_USAGES,	 /* digitalSignature and keyCertSign */
	OWN_CRITICAL,		 /* an unknown critical extension in certificate 0 */
	OWN_NAME_CONSTRAINTS,	 /* critical, in certificate 2: known to OpenSSL, not acted on by us */
	OWN_EXTENSION_TWICE,	 /* certificate 3 */
	OWN_PATHLEN,		 /* certificate 3 allows no CA below it */
	OWN_VERSION_1,		 /* certificate 0 */
	OWN_EXPIRED,		 /* certificate 2 ended a second before OWN_NOW */
	OWN_ENDS_NOW,		 /* certificate 2 ends at OWN_NOW, which is still valid */
	OWN_NOT_YET,		 /* certificate 3 begins a second after OWN_NOW */
	OWN_FAMILY_LEAF,	 /* certificate 0 names another family */
	OWN_FAMILY_UNKNOWN,
	OWN_FAMILY_IK,		 /* certificate 1 */
	OWN_FAMILY_ICA,		 /* certificate 2 */
	OWN_FAMILY_IDENTITY,	 /* certificate 3 */
	OWN_FAMILY_SAN,
	OWN_NO_SAN,
	OWN_SAN_SHORT,		 /* a digit less */
	OWN_SAN_TWO,		 /* a second alternative name */
	OWN_SERIAL_TYPE,	 /* certificate 1's serial number is of the other kind of device */
	OWN_SERIAL_SHORT,	 /* eight bytes */
	OWN_NO_FWID,
	OWN_FWID_OTHER_SHAPE,	 /* the extension of the other family */
	OWN_FWID_BOTH,		 /* the extensions of both */
	OWN_FWID_OTHER_KEY,	 /* composite: not certificate 1's key */
	OWN_FWID_SHA256,	 /* the digest's algorithm */
	OWN_FWID_SHORT,		 /* 47 bytes */
	OWN_FWID_ZERO,
	OWN_FWID_TRAILING,	 /* a byte after the SEQUENCE */
	OWN_FWID_VENDOR,	 /* TcbInfo of another vendor */
	OWN_FWID_MODEL,		 /* TcbInfo of another family */
	OWN_FWID_ORDER,		 /* TcbInfo with [1] before [0] */
	OWN_FWID_NONE,		 /* TcbInfo with an empty list */
	OWN_N_FAULTS
};

struct own_chain {
	X509 *cert[OWN_CERTS];
	EVP_PKEY *key[OWN_CERTS];
	size_t n;
};

/* family: "GH100", "GB100", "LS_10". */
void own_device_chain(struct own_chain *c, const char *family, enum own_fault fault);
/* Four certificates; l3 and ca are the words of certificates 1 and 2: "GH100", "LS10", "GB1XX". */
void own_rim_chain(struct own_chain *c, const char *l3, const char *ca, enum own_fault fault);
void own_chain_clear(struct own_chain *c);

enum own_responder {
	OWN_RESPONDER_GOOD,
	OWN_RESPONDER_NO_EKU,
	OWN_RESPONDER_OTHER_ISSUER, /* certificate i + 1 */
	OWN_RESPONDER_OTHER_KEY,    /* issuer's name, somebody else's signature */
	OWN_RESPONDER_EXPIRED,
	OWN_RESPONDER_NO_SIGNING, /* key usage */
};

/* A certificate for signing OCSP answers, from certificate i; the caller frees both. */
void own_responder(const struct own_chain *c, size_t i, enum own_responder how, X509 **cert, EVP_PKEY **key);

/* PEM of certificates first..last-1; the caller frees. */
char *own_pem(const struct own_chain *c, size_t first, size_t last);
