/* SPDX-License-Identifier: Apache-2.0 */
/* child - what runs after the fork, and the frames by which it reports to its parent. */
#pragma once
#include <limits.h>

#include "gpu/jobs.h"

enum gpu_frame_kind { GPU_FRAME_NOTE = 1, GPU_FRAME_RESULT };
#define GPU_FRAME_MAGIC 0x67707563u

struct gpu_frame_head {
	uint32_t magic;
	uint16_t kind, bytes; /* of what follows */
};
struct gpu_frame_note {
	uint32_t level;
	char text[GPU_TEXT_BYTES];
};
/* One frame is one write(2) to the pipe, whole or not at all. */
_Static_assert(sizeof(struct gpu_frame_head) + sizeof(struct gpu_result) <= PIPE_BUF, "a frame");
#define GPU_FRAME_BYTES_MAX PIPE_BUF

/* Never returns. */
_Noreturn void gpu_child_main(const struct gpu_jobs_spec *spec, const struct gpu_job *job,
			      int pipe_fd, pid_t parent);

/* Cuts the first whole frame off `in`.  1 and the frame, 0 when more bytes are needed, -1 rubbish. */
int gpu_frame_next(struct rd *in, enum gpu_frame_kind *kind, struct rd *body);
bool gpu_frame_note_parse(struct rd body, enum log_level *level, char text[GPU_TEXT_BYTES]) MUST_CHECK;
/* False when it is not a well-formed answer to this job. */
bool gpu_frame_result_parse(struct rd body, const struct gpu_job *job,
			    struct gpu_result *out) MUST_CHECK;
