/* SPDX-License-Identifier: Apache-2.0 */
/* metrics - what a scraper and a kubelet are answered. */
#include "metrics.h"

#include <inttypes.h>

#include "app.h"
#include "base/str.h"

static const double bucket_limits[METRICS_N_BUCKETS] = { 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600 };

void metrics_count_switch(struct metrics *m, bool ok, uint64_t took_ms)
{
	double seconds = (double)took_ms / 1000;

	*(ok ? &m->switches_ok : &m->switches_failed) += 1;
	m->seconds_sum += seconds;
	for (size_t i = 0; i < METRICS_N_BUCKETS; i++)
		if (seconds <= bucket_limits[i])
			m->seconds_bucket[i]++;
}

static int head(struct buf *out, const char *name, const char *type, const char *help,
		struct err *err)
{
	return buf_addf(out, err, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int put_modes(const struct app *app, struct buf *out, struct err *err)
{
	if (head(out, "gpucc_cc_mode", "gauge", "1 for the mode that is in force on a device",
		 err) < 0)
		return -1;
	for (size_t i = 0; i < app->devices.n; i++) {
		const struct device *d = &app->devices.item[i];
		enum gpu_mode mode;
		bool known = plan_mode_of(d, &mode);

		for (int m = 0; m < GPU_N_MODES; m++)
			if (buf_addf(out, err, "gpucc_cc_mode{bdf=\"%s\",mode=\"%s\"} %d\n",
				     bdf_str(d->dev.bdf), gpu_mode_names[m],
				     known && m == (int)mode) < 0)
				return -1;
	}
	return 0;
}

static int put_wanted(const struct app *app, struct buf *out, struct err *err)
{
	if (head(out, "gpucc_cc_wanted", "gauge", "1 for the mode that is wanted", err) < 0)
		return -1;
	for (int m = 0; m < GPU_N_MODES; m++)
		if (buf_addf(out, err, "gpucc_cc_wanted{mode=\"%s\"} %d\n", gpu_mode_names[m],
			     str_eq(app->machine.wanted, gpu_mode_names[m])) < 0)
			return -1;
	return 0;
}

static int put_phase(const struct app *app, struct buf *out, struct err *err)
{
	if (head(out, "gpucc_cc_phase", "gauge", "1 for the phase that runs, idle for none", err) <
	    0)
		return -1;
	for (int p = 0; p < N_PHASES; p++)
		if (buf_addf(out, err, "gpucc_cc_phase{phase=\"%s\"} %d\n", phase_name(p),
			     p == (int)app->machine.phase) < 0)
			return -1;
	return 0;
}

static int put_switches(const struct app *app, struct buf *out, struct err *err)
{
	const struct metrics *m = &app->metrics;
	uint64_t all = m->switches_ok + m->switches_failed;

	if (head(out, "gpucc_cc_switches_total", "counter", "finished switches", err) < 0 ||
	    buf_addf(out, err,
		     "gpucc_cc_switches_total{result=\"success\"} %" PRIu64 "\n"
		     "gpucc_cc_switches_total{result=\"failed\"} %" PRIu64 "\n",
		     m->switches_ok, m->switches_failed) < 0 ||
	    head(out, "gpucc_cc_switch_seconds", "histogram", "from label to report", err) < 0)
		return -1;
	for (size_t i = 0; i < METRICS_N_BUCKETS; i++)
		if (buf_addf(out, err, "gpucc_cc_switch_seconds_bucket{le=\"%g\"} %" PRIu64 "\n",
			     bucket_limits[i], m->seconds_bucket[i]) < 0)
			return -1;
	return buf_addf(out, err,
			"gpucc_cc_switch_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n"
			"gpucc_cc_switch_seconds_sum %g\ngpucc_cc_switch_seconds_count %" PRIu64
			"\n",
			all, m->seconds_sum, all);
}

static int put_kube(const struct app *app, struct buf *out, struct err *err)
{
	static struct k8s_stats stats;

	k8s_client_stats(app->client, &stats);
	if (head(out, "gpucc_kube_requests_total", "counter", "requests to the API server", err) <
	    0)
		return -1;
	for (size_t i = 0; i < stats.n; i++)
		if (buf_addf(out, err,
			     "gpucc_kube_requests_total{verb=\"%s\",code=\"%d\"} %" PRIu64 "\n",
			     stats.requests[i].verb, stats.requests[i].code,
			     stats.requests[i].count) < 0)
			return -1;
	if (head(out, "gpucc_kube_watch_restarts_total", "counter", "watches that ended", err) < 0)
		return -1;
	for (int i = 0; i < K8S_N_RESTARTS; i++)
		if (buf_addf(out, err,
			     "gpucc_kube_watch_restarts_total{cause=\"%s\"} %" PRIu64 "\n",
			     k8s_restart_names[i], stats.watch_restarts[i]) < 0)
			return -1;
	return 0;
}

static int put_rest(const struct app *app, struct buf *out, struct err *err)
{
	if (head(out, "gpucc_cc_paused_operands", "gauge", "operands that we keep away", err) < 0 ||
	    buf_addf(out, err, "gpucc_cc_paused_operands %d\n",
		     __builtin_popcount(app_paused_operands(app))) < 0 ||
	    head(out, "gpucc_build_info", "gauge", "which build this is", err) < 0)
		return -1;
	return buf_addf(out, err, "gpucc_build_info{version=\"%s\",commit=\"%s\"} 1\n",
			gpucc_version, gpucc_commit);
}

static const char *why_not_ready(const struct app *app)
{
	if (app->instance_fd < 0)
		return "another cc-manager runs on this node\n";
	if (!app_node(app))
		return "the node's labels are not known yet\n";
	if (!app->machine.begun)
		return "nothing was looked at yet\n";
	return app->machine.converged ? NULL : "the wanted mode is not in force\n";
}

int metrics_answer(const struct app *app, const char *path, struct buf *out, struct err *err)
{
	const char *why = why_not_ready(app);

	if (str_eq(path, "/healthz"))
		return buf_adds(out, "ok\n", err) < 0 ? -1 : 200;
	if (str_eq(path, "/readyz"))
		return buf_adds(out, why ? why : "ok\n", err) < 0 ? -1 : why ? 503 : 200;
	if (!str_eq(path, "/metrics"))
		return buf_adds(out, "there is /metrics, /healthz and /readyz\n", err) < 0 ? -1
											   : 404;
	if (put_modes(app, out, err) < 0 || put_wanted(app, out, err) < 0 ||
	    put_phase(app, out, err) < 0 || put_switches(app, out, err) < 0 ||
	    put_kube(app, out, err) < 0 || put_rest(app, out, err) < 0)
		return -1;
	return 200;
}
