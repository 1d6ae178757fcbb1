/* SPDX-License-Identifier: Apache-2.0 */
/* What decodes has a length within what was given, a width that a bus knows, a register that exists. */
#include <assert.h>

#include "../../cmd/gpusim/decode.c" /* style: a program's file, in no library */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct insn i, again;

	if (!insn_decode(data, size, &i))
		return 0;
	assert(i.length && i.length <= size && i.length <= INSN_MAX_BYTES);
	assert(i.width && i.width <= 64 && (i.width & (i.width - 1)) == 0);
	assert(i.reg < 32 && i.reg_width <= 64 && i.condition < 16);
	assert(insn_decode(data, i.length, &again) && again.length == i.length);
	return 0;
}
