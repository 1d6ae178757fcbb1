/* SPDX-License-Identifier: Apache-2.0 */
/* One certificate: from strict PEM or DER to an X509 whose bytes are exactly those that came. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "pki/internal.h"

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END	  "-----END CERTIFICATE-----"

const char *pki_reason_word(enum pki_reason reason)
{
	static const char *const words[PKI_N_REASONS] = {
		[PKI_OK] = "none",
		[PKI_CHAIN_FORMAT] = "chain-format",
		[PKI_CHAIN_LENGTH] = "chain-length",
		[PKI_CHAIN_LINK] = "chain",
		[PKI_CHAIN_ROOT] = "chain-root",
		[PKI_CHAIN_ALGORITHM] = "chain-algorithm",
		[PKI_CHAIN_CONSTRAINTS] = "chain-constraints",
		[PKI_CHAIN_TIME] = "chain-time",
		[PKI_CHAIN_FAMILY] = "chain-family",
		[PKI_CHAIN_IDENTITY] = "chain-identity",
		[PKI_FWID] = "fwid",
		[PKI_RIM_CHAIN] = "rim-chain",
		[PKI_RIM_TIME] = "rim-time",
		[PKI_OCSP_STATUS] = "ocsp-status",
		[PKI_OCSP_SIGNER] = "ocsp-signer",
		[PKI_OCSP_SIGNATURE] = "ocsp-signature",
		[PKI_OCSP_CERT_ID] = "ocsp-certid",
		[PKI_OCSP_NONCE] = "ocsp-nonce",
		[PKI_OCSP_TIME] = "ocsp-time",
		[PKI_OCSP_REVOKED] = "ocsp-revoked",
		[PKI_OCSP_HOLD] = "ocsp-hold",
		[PKI_OCSP_UNKNOWN] = "ocsp-unknown",
	};

	return (size_t)reason < PKI_N_REASONS && words[reason] ? words[reason] : "none";
}

int pki_refuse(struct err *err, enum pki_reason why, const char *fmt, ...)
{
	bool malformed = why == PKI_CHAIN_FORMAT || why == PKI_CHAIN_LENGTH;
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ERR_clear_error(); /* what OpenSSL had to say is said */
	err_set(err, malformed ? ERR_INVALID : ERR_UNTRUSTED, "%s: %s", pki_reason_word(why), text);
	err->code = why;
	return -1;
}

/* --- DER ------------------------------------------------------------------------------------- */

static bool encodes_to(X509 *x, struct rd der)
{
	unsigned char *again = NULL;
	int n = i2d_X509(x, &again);
	bool same = n >= 0 && rd_equal(&der, again, (size_t)n);

	OPENSSL_free(again);
	return same;
}

int pki_cert_of_der(struct rd der, enum pki_reason why, const char *which, X509 **out, struct err *err)
{
	const unsigned char *p = der.p;
	X509 *x;

	if (der.left == 0 || der.left > PKI_CERT_MAX_BYTES)
		return pki_refuse(err, why, "%s has %zu bytes, not 1 to %d", which, der.left,
				  PKI_CERT_MAX_BYTES);
	x = d2i_X509(NULL, &p, (long)der.left);
	if (!x)
		return pki_refuse(err, why, "%s is no certificate", which);
	/* The second round makes OpenSSL encode the signed part anew instead of repeating its bytes. */
	if (p != der.p + der.left || !encodes_to(x, der) || i2d_re_X509_tbs(x, NULL) <= 0 ||
	    !encodes_to(x, der)) {
		X509_free(x);
		return pki_refuse(err, why, "%s is not DER, or bytes follow it", which);
	}
	*out = x;
	return 0;
}

bool pki_cert_equal(const X509 *a, const X509 *b)
{
	unsigned char *da = NULL, *db = NULL;
	int na = i2d_X509(a, &da), nb = i2d_X509(b, &db);
	bool same = na > 0 && na == nb && memcmp(da, db, (size_t)na) == 0;

	OPENSSL_free(da);
	OPENSSL_free(db);
	return same;
}

/* --- PEM (RFC 7468, without text outside and without blanks inside) --------------------------- */

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool line_next(struct rd *pem, struct rd *line)
{
	if (!rd_line(pem, line))
		return false;
	if (line->left && line->p[line->left - 1] == '\r')
		line->left--;
	return true;
}

static bool is_base64(const char *text, size_t n)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t pad = 0;

	while (pad < 2 && pad < n && text[n - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < n - pad; i++)
		if (!text[i] || !strchr(letters, text[i]))
			return false;
	return n > 0 && n % 4 == 0;
}

/* Base64 of exactly these bytes: what is decoded is encoded again and compared. */
static bool base64_decode(const char *text, size_t n, uint8_t *out, size_t *out_n)
{
	char again[PKI_CHAIN_MAX_BYTES + 4];
	int size;

	if (!is_base64(text, n))
		return false;
	size = EVP_DecodeBlock(out, (const unsigned char *)text, (int)n);
	if (size < 0)
		return false;
	size -= (text[n - 1] == '=') + (text[n - 2] == '=');
	*out_n = (size_t)size;
	return EVP_EncodeBlock((unsigned char *)again, out, size) == (int)n && memcmp(again, text, n) == 0;
}

/* The lines between BEGIN and END, joined. */
static bool pem_body(struct rd *pem, char *text, size_t *n)
{
	struct rd line;

	*n = 0;
	while (line_next(pem, &line)) {
		if (rd_equal(&line, PEM_END, strlen(PEM_END)))
			return true;
		if (line.left > PKI_CHAIN_MAX_BYTES - *n)
			return false;
		memcpy(text + *n, line.p, line.left);
		*n += line.left;
	}
	return false;
}

int pki_cert_of_pem(struct rd *pem, const char *which, X509 **out, struct err *err)
{
	char text[PKI_CHAIN_MAX_BYTES];
	uint8_t der[PKI_CHAIN_MAX_BYTES];
	struct rd line;
	size_t n, der_n;

	*out = NULL;
	while (pem->left && is_blank(*pem->p))
		if (!rd_skip(pem, 1))
			break;
	if (pem->left == 0)
		return 0;
	if (!line_next(pem, &line) || !rd_equal(&line, PEM_BEGIN, strlen(PEM_BEGIN)) ||
	    !pem_body(pem, text, &n) || !base64_decode(text, n, der, &der_n))
		return pki_refuse(err, PKI_CHAIN_FORMAT, "%s is no PEM", which);
	return pki_cert_of_der(rd_of(der, der_n), PKI_CHAIN_FORMAT, which, out, err);
}

/* --- what a certificate says ----------------------------------------------------------------- */

/* SubjectPublicKeyInfo of every P-384 key: id-ecPublicKey with the named curve, an uncompressed point
 * (RFC 5480).  Whether the point is on the curve is OpenSSL's to say. */
bool pki_cert_is_p384(const X509 *x)
{
	static const uint8_t head[] = {
		0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
		0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04,
	};
	unsigned char *spki = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki);
	bool is = n == 120 && memcmp(spki, head, sizeof(head)) == 0 && X509_get0_pubkey(x);

	OPENSSL_free(spki);
	return is;
}

/* The one common name, printable as it is. */
bool pki_cert_cn(const X509 *x, char out[PKI_TEXT_SIZE])
{
	const X509_NAME *name = X509_get_subject_name(x);
	int i = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	const ASN1_STRING *s;
	size_t n;

	if (i < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, i) >= 0)
		return false;
	s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i));
	n = (size_t)ASN1_STRING_length(s);
	if (n == 0 || n >= PKI_TEXT_SIZE)
		return false;
	memcpy(out, ASN1_STRING_get0_data(s), n);
	out[n] = '\0';
	for (size_t k = 0; k < n; k++)
		if (out[k] < ' ' || out[k] > '~')
			return false;
	return true;
}

bool pki_cert_extension(const X509 *x, const void *oid, size_t oid_size, struct rd *out)
{
	for (int i = 0; i < X509_get_ext_count(x); i++) {
		X509_EXTENSION *e = X509_get_ext(x, i);
		const ASN1_OBJECT *o = X509_EXTENSION_get_object(e);
		const ASN1_OCTET_STRING *v = X509_EXTENSION_get_data(e);
		struct rd id = rd_of(OBJ_get0_data(o), OBJ_length(o));

		if (rd_equal(&id, oid, oid_size)) {
			*out = rd_of(ASN1_STRING_get0_data(v), (size_t)ASN1_STRING_length(v));
			return true;
		}
	}
	return false;
}

int64_t pki_time(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : INT64_MIN;
}
