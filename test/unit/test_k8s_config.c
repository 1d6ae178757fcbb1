/* SPDX-License-Identifier: Apache-2.0 */
/* Which config counts, what kubeconfigs may hold, how a token rotates. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "k8s/config.h"
#include "table.h"

#define PEM_B64 "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==" /* -----BEGIN CERTIFICATE----- */

static char dir[] = "/tmp/gpucc-test-XXXXXX";

static void make_dir(void)
{
	cr_assert_not_null(mkdtemp(dir));
}

static void drop_dir(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

static const char *in_dir(const char *name)
{
	static char path[8][96];
	static unsigned n;
	char *p = path[n++ % 8];

	snprintf(p, 96, "%s/%s", dir, name);
	return p;
}

static void write_file(const char *name, const char *text)
{
	struct err err = ERR_INIT;

	cr_assert_eq(file_publish(in_dir(name), text, strlen(text), 0600, &err), 0, "%s",
		     err_text(&err));
}

/* --- texts ------------------------------------------------------------------------------------ */

#define HEAD                                                                                       \
	"current-context: c\n"                                                                     \
	"contexts:\n"                                                                              \
	"- {name: c, context: {cluster: k, user: u, namespace: ns}}\n"
#define CLUSTER "clusters:\n- name: k\n  cluster:\n    server: https://h:6443\n"
#define USER	"users:\n- name: u\n  user:\n"

static const struct {
	const char *name, *text;
	enum err_kind kind;
	const char *says;
} texts[] = {
	{ "a token", HEAD CLUSTER USER "    token: secret\n", ERR_NONE, "" },
	{ "inline certificates",
	  HEAD CLUSTER "    certificate-authority-data: " PEM_B64 "\n" USER
		       "    client-certificate-data: " PEM_B64 "\n    client-key-data: " PEM_B64
		       "\n",
	  ERR_NONE, "" },
	{ "insecure, another name, a proxy",
	  HEAD CLUSTER "    insecure-skip-tls-verify: true\n    tls-server-name: n\n"
		       "    proxy-url: http://p:3128\n" USER "    token: secret\n",
	  ERR_NONE, "" },
	{ "no user", "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n" CLUSTER,
	  ERR_NONE, "" },
	{ "JSON",
	  "{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":{\"cluster\":\"k\"}}],"
	  "\"clusters\":[{\"name\":\"k\",\"cluster\":{\"server\":\"http://h:1\"}}]}",
	  ERR_NONE, "" },
	{ "what we do not know is passed over",
	  HEAD "preferences: {colors: true}\n" CLUSTER
	       "    extensions: [{name: x, extension: {a: b}}]\n" USER "    token: secret\n",
	  ERR_NONE, "" },

	{ "empty", "", ERR_INVALID, "kc:1: is empty" },
	{ "a list", "- a\n", ERR_INVALID, "kc:1: is not a kubeconfig" },
	{ "broken YAML", HEAD "clusters: [\n", ERR_INVALID, "kc:5: " },
	{ "no current-context", CLUSTER, ERR_INVALID, "kc: no current-context" },
	{ "an empty current-context", "current-context: \"\"\n" CLUSTER, ERR_INVALID,
	  "there is no context \"\"" },
	{ "an unknown context", "current-context: x\ncontexts: []\n", ERR_INVALID,
	  "there is no context \"x\"" },
	{ "contexts a map", "current-context: x\ncontexts: {a: b}\n", ERR_INVALID,
	  "kc:2: contexts: is not a list" },
	{ "a context without a name", "current-context: x\ncontexts:\n- {context: {}}\n",
	  ERR_INVALID, "kc:3: contexts: an entry without a name" },
	{ "a context without a cluster",
	  "current-context: c\ncontexts:\n- {name: c, context: {user: u}}\n", ERR_INVALID,
	  "kc:3: \"cluster\" is missing" },
	{ "an unknown cluster", HEAD, ERR_INVALID, "there is no cluster \"k\"" },
	{ "an unknown user", HEAD CLUSTER, ERR_INVALID, "there is no user \"u\"" },
	{ "no server", HEAD "clusters:\n- name: k\n  cluster:\n    tls-server-name: x\n",
	  ERR_INVALID, "kc:7: \"server\" is missing" },
	{ "a server without a scheme",
	  HEAD "clusters:\n- name: k\n  cluster:\n    server: h:6443\n", ERR_INVALID,
	  "kc:7: server: \"h:6443\" does not begin with https://" },
	{ "a server that is a list", HEAD "clusters:\n- name: k\n  cluster:\n    server: [a]\n",
	  ERR_INVALID, "kc:7: server: is a list" },
	{ "insecure beside a CA",
	  HEAD CLUSTER "    insecure-skip-tls-verify: true\n    certificate-authority: /x\n",
	  ERR_INVALID, "kc:7: insecure-skip-tls-verify beside" },
	{ "insecure: yes", HEAD CLUSTER "    insecure-skip-tls-verify: yes\n", ERR_INVALID,
	  "kc:8: insecure-skip-tls-verify: \"yes\" is not true or false" },
	{ "a CA that is not there", HEAD CLUSTER "    certificate-authority: /no/such/file\n",
	  ERR_INVALID, "kc:8: certificate-authority: /no/such/file: No such file" },
	{ "a CA that is not base64", HEAD CLUSTER "    certificate-authority-data: \"%%%\"\n",
	  ERR_INVALID, "kc:8: certificate-authority-data: is not base64" },
	{ "a CA that is no PEM", HEAD CLUSTER "    certificate-authority-data: aGVsbG8=\n",
	  ERR_INVALID, "kc:8: certificate-authority-data: there is no PEM" },
	{ "a certificate without its key",
	  HEAD CLUSTER USER "    client-certificate-data: " PEM_B64 "\n", ERR_INVALID,
	  "kc:11: a client certificate needs its key" },
	{ "a token file that is not there", HEAD CLUSTER USER "    tokenFile: /no/such/file\n",
	  ERR_INVALID, "kc:11: tokenFile: /no/such/file" },
	{ "an exec plug-in", HEAD CLUSTER USER "    exec:\n      command: aws\n", ERR_UNSUPPORTED,
	  "exec: plug-in programs are not run here" },
	{ "an auth provider", HEAD CLUSTER USER "    auth-provider:\n      name: oidc\n",
	  ERR_UNSUPPORTED, "auth-provider: plug-ins are not supported" },
	{ "a password", HEAD CLUSTER USER "    username: me\n    password: secret\n",
	  ERR_UNSUPPORTED, "kc:11: username: " },
	{ "impersonation", HEAD CLUSTER USER "    token: secret\n    as: admin\n", ERR_UNSUPPORTED,
	  "kc:12: as: impersonation" },
	{ "the same user key twice", HEAD CLUSTER USER "    token: a\n    token: b\n", ERR_INVALID,
	  "kc:12: \"token\" is here twice" },
};

TABLE_TEST(k8s_config, kubeconfigs_are_taken_or_refused_with_a_line, texts)
{
	AUTO(k8s_config_free) struct k8s_config *c = NULL;
	struct err err = ERR_INIT;
	int r = kubeconfig_parse("kc", rd_of(row->text, strlen(row->text)), &c, &err);

	cr_assert_eq(err.kind, row->kind, "%s: %s", row->name, err_text(&err));
	cr_assert_eq(r, row->kind == ERR_NONE ? 0 : -1, "%s", row->name);
	cr_assert(strstr(err_text(&err), row->says), "%s: %s", row->name, err_text(&err));
	cr_assert(!strstr(err_text(&err), "secret"), "%s: %s", row->name, err_text(&err));
}

Test(k8s_config, a_kubeconfig_has_its_values)
{
	static const char text[] = HEAD CLUSTER
		"    tls-server-name: n\n    proxy-url: http://p:3128\n"
		"    certificate-authority-data: " PEM_B64 "\n" USER "    token: secret\n";
	AUTO(k8s_config_free) struct k8s_config *c = NULL;
	AUTO_BUF token = BUF_INIT(100);
	struct err err = ERR_INIT;

	cr_assert_eq(kubeconfig_parse("kc", rd_of(text, strlen(text)), &c, &err), 0);
	cr_assert_str_eq(k8s_config_server(c), "https://h:6443");
	cr_assert_str_eq(k8s_config_namespace(c), "ns");
	cr_assert_str_eq(k8s_config_origin(c), "kc");
	cr_assert_str_eq(c->server_name, "n");
	cr_assert_str_eq(c->proxy, "http://p:3128");
	cr_assert_str_eq(buf_str(&c->ca_pem), "-----BEGIN CERTIFICATE-----\n");
	cr_assert_eq(config_token(c, &token, &err), 0);
	cr_assert_str_eq(buf_str(&token), "secret");
}

/* --- files ------------------------------------------------------------------------------------ */

Test(k8s_config, paths_are_relative_to_their_file, .init = make_dir, .fini = drop_dir)
{
	AUTO(k8s_config_free) struct k8s_config *c = NULL;
	struct k8s_config_sources s = { .kubeconfig = in_dir("kc") };
	AUTO_BUF token = BUF_INIT(100);
	struct err err = ERR_INIT;

	write_file("kc",
		   HEAD CLUSTER "    certificate-authority: ca.pem\n" USER "    tokenFile: tok\n");
	write_file("ca.pem", "x");
	write_file("tok", "  secret \n\n");
	cr_assert_eq(k8s_config_load(&s, &c, &err), 0, "%s", err_text(&err));
	cr_assert_str_eq(c->ca_file, in_dir("ca.pem"));
	cr_assert_eq(config_token(c, &token, &err), 0);
	cr_assert_str_eq(buf_str(&token), "  secret");
}

Test(k8s_config, files_of_a_list_are_merged, .init = make_dir, .fini = drop_dir)
{
	AUTO(k8s_config_free) struct k8s_config *c = NULL;
	char list[400];
	struct k8s_config_sources s = { .env_kubeconfig = list };
	struct err err = ERR_INIT;

	write_file("one", HEAD);
	write_file("two", "current-context: other\n" CLUSTER USER "    token: secret\n");
	snprintf(list, sizeof(list), ":%s:%s:%s", in_dir("absent"), in_dir("one"), in_dir("two"));
	cr_assert_eq(k8s_config_load(&s, &c, &err), 0, "%s", err_text(&err));
	cr_assert_str_eq(k8s_config_server(c), "https://h:6443");
	cr_assert_str_eq(k8s_config_origin(c), in_dir("one"));
}

/* --- precedence ------------------------------------------------------------------------------- */

static void write_all(void)
{
	static const char *const names[] = { "flag", "env", "home/.kube/config" };
	struct err err = ERR_INIT;
	char text[400];

	make_dir();
	cr_assert_eq(file_mkdirs(in_dir("home/.kube"), 0700, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(text, sizeof(text),
			 "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n"
			 "clusters: [{name: k, cluster: {server: \"http://%zu\"}}]\n",
			 i);
		write_file(names[i], text);
	}
	cr_assert_eq(file_mkdirs(in_dir("sa"), 0700, &err), 0);
	write_file("sa/token", "secret\n");
	write_file("sa/ca.crt", "x");
	write_file("sa/namespace", "gpucc\n");
	cr_assert_eq(file_mkdirs(in_dir("empty"), 0700, &err), 0);
}

static const struct {
	const char *name, *flag, *host, *port, *sa, *env, *home, *server;
	enum err_kind kind;
} sources[] = {
	{ "the flag wins", "flag", "10.0.0.1", "443", "sa", "env", "home", "http://0", ERR_NONE },
	{ "then the pod", NULL, "10.0.0.1", "443", "sa", "env", "home", "https://10.0.0.1:443",
	  ERR_NONE },
	{ "over IPv6", NULL, "fd00::1", "443", "sa", NULL, NULL, "https://[fd00::1]:443",
	  ERR_NONE },
	{ "then the environment", NULL, NULL, NULL, "sa", "env", "home", "http://1", ERR_NONE },
	{ "a pod without a token", NULL, "10.0.0.1", "443", "empty", "env", "home", "http://1",
	  ERR_NONE },
	{ "then the home", NULL, NULL, NULL, "sa", NULL, "home", "http://2", ERR_NONE },
	{ "empty means not set", "", "", "", "sa", "", "home", "http://2", ERR_NONE },
	{ "nothing at all", NULL, NULL, NULL, "sa", NULL, NULL, NULL, ERR_NOT_FOUND },
	{ "a home without", NULL, NULL, NULL, "sa", NULL, "empty", NULL, ERR_NOT_FOUND },
	{ "a flag that is not there", "absent", "10.0.0.1", "443", "sa", "env", "home", NULL,
	  ERR_NOT_FOUND },
	{ "an environment that is not there", NULL, NULL, NULL, "sa", "absent", "home", NULL,
	  ERR_NOT_FOUND },
};

static const char *path_or_not(const char *name)
{
	return !name || !*name ? name : in_dir(name);
}

TABLE_TEST(k8s_config, the_first_that_applies_wins, sources)
{
	AUTO(k8s_config_free) struct k8s_config *c = NULL;
	struct err err = ERR_INIT;
	struct k8s_config_sources s;

	write_all();
	s = (struct k8s_config_sources){
		.kubeconfig = path_or_not(row->flag),
		.service_host = row->host,
		.service_port = row->port,
		.service_account_dir = path_or_not(row->sa),
		.env_kubeconfig = path_or_not(row->env),
		.home = path_or_not(row->home),
	};
	cr_assert_eq(k8s_config_load(&s, &c, &err), row->kind == ERR_NONE ? 0 : -1, "%s: %s",
		     row->name, err_text(&err));
	cr_assert_eq(err.kind, row->kind, "%s: %s", row->name, err_text(&err));
	if (row->server)
		cr_assert_str_eq(k8s_config_server(c), row->server, "%s", row->name);
	drop_dir();
}

Test(k8s_config, a_pod_knows_its_namespace_and_ca, .init = write_all, .fini = drop_dir)
{
	AUTO(k8s_config_free) struct k8s_config *c = NULL;
	struct err err = ERR_INIT;
	struct k8s_config_sources s = { .service_host = "10.0.0.1",
					.service_port = "443",
					.service_account_dir = in_dir("sa") };

	cr_assert_eq(k8s_config_load(&s, &c, &err), 0);
	cr_assert_str_eq(k8s_config_namespace(c), "gpucc");
	cr_assert_str_eq(c->ca_file, in_dir("sa/ca.crt"));
	cr_assert_null(c->proxy);
}

/* --- tokens ----------------------------------------------------------------------------------- */

static void token_is(struct k8s_config *c, const char *text)
{
	AUTO_BUF token = BUF_INIT(100);
	struct err err = ERR_INIT;

	cr_assert_eq(config_token(c, &token, &err), 0, "%s", err_text(&err));
	cr_assert_str_eq(buf_str(&token), text);
}

Test(k8s_config, a_token_that_rotates_is_followed, .init = write_all, .fini = drop_dir)
{
	AUTO(k8s_config_free) struct k8s_config *c = NULL;
	struct err err = ERR_INIT;
	struct k8s_config_sources s = { .service_host = "h",
					.service_port = "1",
					.service_account_dir = in_dir("sa") };

	cr_assert_eq(k8s_config_load(&s, &c, &err), 0);
	token_is(c, "secret");
	write_file("sa/token", "second\n"); /* as long as the first, in the same moment */
	token_is(c, "second");
	cr_assert_eq(unlink(in_dir("sa/token")), 0);
	token_is(c, "second"); /* while it is away, the one before */
	write_file("sa/token", "third\n");
	token_is(c, "third");
	write_file("sa/token", "\n");
	token_is(c, "third"); /* an empty one is none */
}

/* A file that is overwritten in place within its clock's tick looks the same; a 401 makes us look. */
Test(k8s_config, after_a_401_the_token_is_read_whatever_its_time, .init = write_all,
     .fini = drop_dir)
{
	AUTO(k8s_config_free) struct k8s_config *c = NULL;
	struct err err = ERR_INIT;
	struct k8s_config_sources s = { .service_host = "h",
					.service_port = "1",
					.service_account_dir = in_dir("sa") };
	struct stat st;
	struct timespec times[2];
	int fd;

	cr_assert_eq(k8s_config_load(&s, &c, &err), 0);
	token_is(c, "secret");
	cr_assert_eq(stat(in_dir("sa/token"), &st), 0);
	fd = open(in_dir("sa/token"), O_WRONLY);
	cr_assert_eq(pwrite(fd, "SECRET", 6, 0), 6);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	cr_assert_eq(futimens(fd, times), 0);
	close(fd);
	token_is(c, "secret");
	c->token_stale = true;
	token_is(c, "SECRET");
}
