/* SPDX-License-Identifier: Apache-2.0 */
/* A saved machine is refused or serves any access and saves again; so are faults.  The first byte says
 * what follows: 0 a saved state, 1 faults, else accesses of a new machine, six bytes each. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "gpumodel/gpumodel.h"

#define SAVED_MAX (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Registers with side effects come first, so that few bits reach them. */
static const uint32_t near[] = { 0x0,	   0x200bc,  0x1182cc, 0x590,	 0x8f2c10,
				 0x8f2c14, 0x8f2c90, 0x8f2c94, 0x8f2ad0, 0x8f2ad4,
				 0x8f1f84, 0x8f1f88, 0x8f1f04, 0x8f1f08, 0x12004c,
				 0x122204, 0x1400,   0x91288,  0x8f2c08, 0x8f2c0c };

static void one_access(struct gpumodel *m, const uint8_t op[6])
{
	unsigned dev = op[0] % gpumodel_count(m);
	uint32_t value =
		op[2] | (uint32_t)op[3] << 8 | (uint32_t)op[4] << 16 | (uint32_t)op[5] << 24;
	uint64_t took;

	switch (op[0] >> 4) {
	case 0:
		gpumodel_cfg_write(m, dev, op[1], 1u << op[2] % 3, value);
		break;
	case 1:
		gpumodel_cfg_read(m, dev, value & 0xfff, 1u << op[1] % 3);
		break;
	case 2:
		if (gpumodel_reset(m, dev, &took) == 0)
			clock_sleep_ms(took);
		break;
	case 3:
		clock_sleep_ms(op[1]);
		break;
	case 4:
		gpumodel_write_sized(m, dev, value & 0xffffff, 1u << op[1] % 4, value);
		break;
	case 5:
	case 6:
	case 7:
		gpumodel_read(m, dev, near[op[1] % ARRAY_LEN(near)]);
		break;
	default:
		gpumodel_write(m, dev, near[op[1] % ARRAY_LEN(near)], value);
	}
}

static void exercise(struct gpumodel *m, const uint8_t *data, size_t size)
{
	AUTO_BUF text = BUF_INIT(SAVED_MAX);
	struct gpumodel_config config = { 0 };
	AUTO(gpumodel_free) struct gpumodel *again = NULL;
	struct gpumodel_truth truth;
	struct err err = ERR_INIT;

	for (; gpumodel_count(m) && size >= 6; size -= 6, data += 6)
		one_access(m, data);
	for (unsigned i = 0; i < gpumodel_count(m); i++)
		gpumodel_truth(m, i, &truth);
	assert(gpumodel_save(m, &text, &err) == 0);
	assert(gpumodel_load(buf_rd(&text), &config, &again, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(gpumodel_free) struct gpumodel *m = NULL;
	struct gpumodel_config config = { 0 };
	struct err err = ERR_INIT;

	if (!size)
		return 0;
	clock_fake_set_us(1000000);
	if (*data == 0) {
		if (gpumodel_load(rd_of(data + 1, size - 1), &config, &m, &err) == 0)
			exercise(m, data, size);
		else
			assert(err.kind == ERR_INVALID && !m);
		return 0;
	}
	assert(gpumodel_new("h100,b200,ls10", &config, &m, &err) == 0);
	if (*data == 1) {
		if (gpumodel_faults_load(m, rd_of(data + 1, size - 1), &err) < 0)
			assert(err.kind == ERR_INVALID);
		return 0;
	}
	exercise(m, data + 1, size - 1);
	return 0;
}
