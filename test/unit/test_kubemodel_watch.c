/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches: where they begin, what they see, how they end.
 */
#include "kubemodel_client.h"

#define LABEL(v) "{\"metadata\":{\"labels\":{\"x\":\"" v "\"}}}"

static struct kubemodel_watch *watch_from(struct kubemodel *m, uint64_t version, const char *more)
{
	char target[256];

	snprintf(target, sizeof(target), "/api/v1/nodes?watch=1&resourceVersion=%llu%s",
		 (unsigned long long)version, more);
	return watch_as(m, target, "");
}

Test(kubemodel, a_watch_without_version_begins_with_all_there_is)
{
	struct kubemodel *m = cluster(64);
	struct kubemodel_watch *w = watch_as(m, "/api/v1/nodes?watch=true", PARTIAL);

	cr_assert_line(w, "ADDED n1");
	patch_node(m, "n1", LABEL("1"));
	cr_assert_line(w, "ADDED n2");
	cr_assert_line(w, "MODIFIED n1");
	cr_assert_line(w, "");
	kubemodel_watch_free(w);
	kubemodel_free(m);
}

Test(kubemodel, a_watch_goes_on_from_its_version)
{
	struct kubemodel *m = cluster(64);
	uint64_t v = kubemodel_version(m);
	struct kubemodel_watch *w;

	patch_node(m, "n1", LABEL("1"));
	patch_node(m, "n2", LABEL("1"));
	patch_node(m, "n1", LABEL("2"));
	cr_assert_eq(ask(m, "DELETE", "/api/v1/nodes/n1", "", NULL), 200);
	w = watch_from(m, v, "&fieldSelector=metadata.name%3Dn1");
	cr_assert_line(w, "MODIFIED n1");
	cr_assert_line(w, "MODIFIED n1");
	cr_assert_line(w, "DELETED n1");
	cr_assert_line(w, "");
	kubemodel_watch_free(w);
	kubemodel_free(m);
}

Test(kubemodel, selectors_make_objects_come_and_go)
{
	struct kubemodel *m = cluster(64);
	struct kubemodel_watch *w = watch_from(m, kubemodel_version(m), "&labelSelector=x%3D1");

	patch_node(m, "n1", LABEL("1"));
	cr_assert_line(w, "ADDED n1");
	patch_node(m, "n1", "{\"metadata\":{\"labels\":{\"y\":\"1\"}}}");
	cr_assert_line(w, "MODIFIED n1");
	patch_node(m, "n1", LABEL("2"));
	cr_assert_line(w, "DELETED n1");
	patch_node(m, "n1", LABEL("3"));
	cr_assert_line(w, "");
	kubemodel_watch_free(w);
	kubemodel_free(m);
}

Test(kubemodel, other_kinds_and_namespaces_are_not_seen)
{
	struct kubemodel *m = cluster(64);
	struct err err = ERR_INIT;
	struct kubemodel_watch *w;

	cr_assert_eq(kubemodel_add_namespace(m, "other", &err), 0);
	w = watch_as(m, "/api/v1/namespaces/default/pods?watch=1", "");
	patch_node(m, "n1", LABEL("1"));
	cr_assert_eq(ask(m, "POST", "/api/v1/namespaces/other/pods",
			 "{\"metadata\":{\"name\":\"p\"}}", NULL),
		     201);
	cr_assert_line(w, "");
	cr_assert_eq(ask(m, "POST", "/api/v1/namespaces/default/pods",
			 "{\"metadata\":{\"name\":\"q\"}}", NULL),
		     201);
	cr_assert_line(w, "ADDED q");
	kubemodel_watch_free(w);
	kubemodel_free(m);
}

Test(kubemodel, compaction_ends_old_watches_only)
{
	struct kubemodel *m = cluster(64);
	struct kubemodel_watch *current = watch_from(m, kubemodel_version(m), "");
	struct kubemodel_watch *behind = watch_from(m, kubemodel_version(m), "");

	patch_node(m, "n1", LABEL("1"));
	cr_assert_line(current, "MODIFIED n1");
	kubemodel_compact(m);
	cr_assert_line(current, "");
	cr_assert_line(behind, "ERROR 410");
	cr_assert_line(behind, "over");
	patch_node(m, "n1", LABEL("2"));
	cr_assert_line(current, "MODIFIED n1");
	kubemodel_watch_free(current);
	kubemodel_watch_free(behind);
	kubemodel_free(m);
}

Test(kubemodel, an_old_version_is_gone_as_event_or_as_status)
{
	struct kubemodel *m = cluster(64);
	uint64_t v = kubemodel_version(m);
	struct kubemodel_watch *w;
	char target[96];

	patch_node(m, "n1", LABEL("1"));
	kubemodel_compact(m);
	w = watch_from(m, v, "");
	cr_assert_line(w, "ERROR 410");
	kubemodel_watch_free(w);
	kubemodel_set_gone_as_http(m, true);
	snprintf(target, sizeof(target), "/api/v1/nodes?watch=1&resourceVersion=%llu",
		 (unsigned long long)v);
	cr_assert_eq(ask(m, "GET", target, "", NULL), 410);
	kubemodel_free(m);
}

Test(kubemodel, history_is_a_window)
{
	struct kubemodel *m = cluster(8);
	struct kubemodel_watch *slow = watch_from(m, kubemodel_version(m), "");
	struct kubemodel_watch *quick = watch_from(m, kubemodel_version(m), "");
	struct err err = ERR_INIT;

	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(kubemodel_churn_node(m, "n1", i, &err), 0);
	for (int i = 0; i < 8; i++)
		cr_assert_line(quick, "MODIFIED n1");
	cr_assert_line(quick, "");
	cr_assert_eq(kubemodel_churn_node(m, "n1", 8, &err), 0);
	cr_assert_line(quick, "MODIFIED n1");
	cr_assert_line(slow, "ERROR 410");
	kubemodel_watch_free(slow);
	kubemodel_watch_free(quick);
	kubemodel_free(m);
}

Test(kubemodel, bookmarks_come_when_asked_for_and_in_time)
{
	struct kubemodel *m;
	struct kubemodel_watch *with, *without;

	clock_fake_set_us(1000000);
	m = cluster(64);
	with = watch_from(m, kubemodel_version(m), "&allowWatchBookmarks=true");
	without = watch_from(m, kubemodel_version(m), "");
	kubemodel_bookmarks(m, 2);
	cr_assert_line(with, "BOOKMARK");
	cr_assert_line(with, "BOOKMARK");
	cr_assert_line(with, "");
	cr_assert_line(without, "");
	cr_assert_eq(kubemodel_due_ms(m), 61000);
	clock_fake_set_us(61000000);
	cr_assert_line(with, "BOOKMARK");
	cr_assert_line(with, "");
	kubemodel_watch_free(with);
	kubemodel_watch_free(without);
	kubemodel_free(m);
	clock_fake_off();
}

Test(kubemodel, bookmarks_carry_the_version_seen)
{
	struct kubemodel *m = cluster(64);
	struct kubemodel_watch *w = watch_as(
		m, "/api/v1/nodes?watch=1&allowWatchBookmarks=1&fieldSelector=metadata.name=n2",
		PARTIAL);
	struct buf line = BUF_INIT(4096);
	json_auto_t *j = NULL;

	cr_assert_line(w, "ADDED n2");
	patch_node(m, "n1", LABEL("1"));
	kubemodel_bookmarks(m, 1);
	cr_assert_eq(kubemodel_watch_next(w, &line), 1);
	j = json_loadb(line.data, line.len, 0, NULL);
	cr_assert_eq(strtoull(km_text_at(j, "object.metadata.resourceVersion"), NULL, 10),
		     kubemodel_version(m));
	cr_assert_str_eq(km_text_at(j, "object.kind"), "PartialObjectMetadata");
	buf_clear(&line);
	kubemodel_watch_free(w);
	kubemodel_free(m);
}

Test(kubemodel, a_watch_ends_in_its_time)
{
	struct kubemodel *m;
	struct kubemodel_watch *w;

	clock_fake_set_us(1000000);
	m = cluster(64);
	w = watch_from(m, kubemodel_version(m), "&timeoutSeconds=5");
	cr_assert_eq(kubemodel_due_ms(m), 6000);
	clock_fake_set_us(5999000);
	cr_assert_line(w, "");
	clock_fake_set_us(6000000);
	cr_assert_line(w, "over");
	kubemodel_watch_free(w);
	kubemodel_free(m);
	clock_fake_off();
}

Test(kubemodel, two_hundred_watches_and_ten_thousand_updates, .timeout = 60)
{
	static struct kubemodel_watch *w[200];
	struct kubemodel *m = cluster(1024);
	struct buf line = BUF_INIT(KUBEMODEL_MAX_ANSWER);
	struct err err = ERR_INIT;
	size_t lines = 0;

	for (size_t i = 0; i < 200; i++)
		w[i] = watch_from(m, kubemodel_version(m),
				  i % 2 ? "&fieldSelector=metadata.name%3Dn1"
					: "&fieldSelector=metadata.name%3Dn2");
	for (unsigned n = 0; n < 10000; n++) {
		cr_assert_eq(kubemodel_churn_node(m, "n1", n, &err), 0);
		for (size_t i = 0; n % 100 == 99 && i < 200; i++)
			while (kubemodel_watch_next(w[i], &line) > 0)
				lines++;
	}
	cr_assert_eq(lines, 100 * 10000);
	for (size_t i = 0; i < 200; i++)
		kubemodel_watch_free(w[i]);
	buf_clear(&line);
	kubemodel_free(m);
}
