/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsp - the foundation security processor, which owns the knobs: its registers, the same on every
 * chip that has one, and the messages it takes (MCTP with a vendor-defined header).  BAR0, 32 bit.
 */
#pragma once
#include <stddef.h>

#include "base/err.h"
#include "gpu/gpu.h"
#include "gpu/reg.h"

#define PMC_BOOT_0	       0x000000
#define   PMC_BOOT_0_SEC_FAULT	 0xbadf0200 /* either: security fault */
#define   PMC_BOOT_0_SEC_FAULT_2 0xbad00200
#define   PMC_BOOT_0_CHIPSET	 BITS(28, 20)

#define FSP_STATUS(i)	       (0x8f0320 + 4 * (i)) /* i < 4 */

/* Queues in EMEM; channel c uses port c and the 1024 bytes from c * 1024. */
#define FSP_CHANNEL_PRC	       2
#define FSP_CHANNEL_BYTES      1024u
#define FSP_EMEM_BASE(c)       ((c) * FSP_CHANNEL_BYTES)
#define FSP_COMMAND_HEAD(c)    (0x8f2c00 + 8 * (c)) /* its write is the doorbell */
#define FSP_COMMAND_TAIL(c)    (0x8f2c04 + 8 * (c)) /* inclusive: offset of the last dword */
#define FSP_MESSAGE_HEAD(c)    (0x8f2c80 + 8 * (c))
#define FSP_MESSAGE_TAIL(c)    (0x8f2c84 + 8 * (c))
#define FSP_EMEMC(c)	       (0x8f2ac0 + 8 * (c))
#define   FSP_EMEMC_INC_WRITE  BIT(24)
#define   FSP_EMEMC_INC_READ   BIT(25)
#define FSP_EMEMD(c)	       (0x8f2ac4 + 8 * (c))

/* Mailboxes, named from FSP's side; port 0. */
#define FSP_MNOC_BYTES	       4160u
#define FSP_RECEIVE_INFO       0x8f1f84 /* host to FSP */
#define FSP_RECEIVE_DATA       0x8f1f88
#define FSP_SEND_INFO	       0x8f1f04 /* FSP to host */
#define FSP_SEND_DATA	       0x8f1f08
#define   FSP_INFO_SIZE	       BITS(19, 0)
#define   FSP_INFO_START       BIT(20)
#define   FSP_INFO_READY       BIT(24)
#define   FSP_INFO_ERROR       BIT(25)
#define   FSP_INFO_CREDIT      BIT(26)
#define FSP_MNOC_CREDIT_BYTES  64u

/* Messages */
#define FSP_MCTP_SINGLE	       0xc0000000u /* SOM and EOM, everything else 0 */
#define FSP_NVDM_PRC	       0x13u
#define FSP_NVDM_RESPONSE      0x15u
#define   FSP_HEADER_NVDM      BITS(31, 24)
#define FSP_HEADER_PRC	       0x1310de7eu
#define FSP_PRC_KNOB_READ      0x0000020cu
#define FSP_PRC_KNOB_WRITE     0x0000020du
#define   FSP_PRC_KNOB	       BITS(31, 16)
#define   FSP_PRC_VALUE	       BITS(15, 0) /* of an answer; the upper half may be anything */
#define FSP_STATUS_OK	       0u
#define FSP_STATUS_NO_KNOB     0x1e3u      /* this firmware does not know the knob */

#define FSP_ANSWER_HEADER      5 /* MCTP, message header, unused, request type, status */

/* What an answer must look like.  `payload_dwords` must be there exactly and is copied to `payload`.
 * ERR_UNSUPPORTED with code FSP_STATUS_NO_KNOB; ERR_DEVICE, with the status as code, for all else. */
int fsp_answer_check(const uint32_t *dword, size_t n, size_t payload_dwords, uint32_t *payload,
		     struct err *err) MUST_CHECK;

/* Sends one request (n dwords with headers) and receives its answer, at most `max` dwords. */
int fsp_emem_open(struct gpu *g, struct err *err) MUST_CHECK;
int fsp_emem_call(struct gpu *g, const uint32_t *request, size_t n, uint32_t *answer, size_t max,
		  size_t *out_n, struct err *err) MUST_CHECK;
int fsp_mnoc_call(struct gpu *g, const uint32_t *request, size_t n, uint32_t *answer, size_t max,
		  size_t *out_n, struct err *err) MUST_CHECK;

/* Knobs.  The channel is opened when first used. */
enum {
	KNOB_A = 2, /* this, 4 and 34 have no public name; CC and PPCIe want them 0 */
	KNOB_B = 4,
	KNOB_CCD = 6,
	KNOB_CCM = 8,
	KNOB_DECOUPLER = 10,
	KNOB_C = 34,
	KNOB_PPCIE = 45,
};
int fsp_knob_read(struct gpu *g, unsigned id, uint16_t *out, struct err *err) MUST_CHECK;
int fsp_knob_write(struct gpu *g, unsigned id, uint16_t value, struct err *err) MUST_CHECK;
static inline bool fsp_no_such_knob(const struct err *err)
{
	return err->kind == ERR_UNSUPPORTED && err->code == FSP_STATUS_NO_KNOB;
}
