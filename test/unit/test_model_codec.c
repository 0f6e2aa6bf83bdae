/* SPDX-License-Identifier: Apache-2.0
 *
 * Definitions of actions as people send them: the defaults, each limit at and beyond its edge, and
 * what is said about everything that is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "model_input.h"
#include "seed.h"

#define INPUT_MAX 1000000
#define MUTATIONS 20000

/* --- defaults --- */

static void test_defaults_of_an_http_action(void **state)
{
	struct action *action = input_action(HTTP_WITH(""));

	assert_definition(action,
		"{'name':'a','kind':'http','http':{'method':'GET','url':'http://h/','headers':{},"
		"'expect_status':'200-299','connect_timeout':'10s','first_byte_timeout':'0s','max_"
		"redirects':5},'timeout':'10m','overlap':'skip','queue_limit':1,"
		"'max_concurrent':0,'max_pending':10000,'misfire':'latest','misfire_grace':'1m','"
		"max_lateness':'1d','max_catchup':100,"
		"'pause_records':true,'on_interrupt':'retry','retry':{'max_attempts':1,"
		"'backoff':'exponential','initial':'10s','max':'10m','jitter':0.2},'priority':0,"
		"'tags':[]}");
	assert_int_equal(action->timeout_ms, 600000);
	assert_int_equal(action->misfire.grace_ms, 60000);
	assert_int_equal(action->misfire.max_lateness_ms, 86400000);
	assert_int_equal(action->retry.initial_ms, 10000);
	assert_int_equal(action->retry.max_ms, 600000);
	assert_true(http_target_expects(&action->http, 299));
	assert_false(http_target_expects(&action->http, 300));
	assert_null(action->http.body);
	assert_null(action->description);
	assert_null(action->schedule);
	assert_null(action->schedule_json);
	assert_non_null(action->tags);
	assert_null(action->tags[0]);
	assert_int_equal(action->next_due_ms, NO_TIME);
	action_unref(action);
}

static void test_defaults_of_an_exec_action(void **state)
{
	struct action *action = input_action(EXEC_TARGET("'command':['df','-h']"));
	json_t *json = action_definition_json(action), *expected;

	expected = input_json("{'shell':false,'command':['df','-h'],'env':{}}");
	assert_true(json_equal(json_object_get(json, "exec"), expected));
	assert_null(json_object_get(json, "http"));
	assert_null(action->exec.command[2]);
	assert_null(action->exec.cwd);
	assert_null(action->exec.stdin_text);
	assert_null(action->exec.user);
	assert_false(action->exec.use_shell);
	json_decref(json);
	json_decref(expected);
	action_unref(action);
}

static void test_limits_are_written_as_far_as_they_are_set(void **state)
{
	struct action *action =
		input_action(EXEC_TARGET("'command':['df'],'limits':{'cpu':'90s',"
					 "'memory':'512MiB','file_size':1000,'files':64}"));
	json_t *json = action_definition_json(action), *expected;

	expected = input_json("{'cpu':'1m30s','memory':'512MiB','file_size':'1000','files':64}");
	assert_true(json_equal(json_object_get(json_object_get(json, "exec"), "limits"), expected));
	assert_int_equal(action->exec.limits.memory, 512 << 20);
	assert_int_equal(action->exec.limits.nice, 0);
	json_decref(json);
	json_decref(expected);
	action_unref(action);
}

static void test_a_noop_has_no_target(void **state)
{
	struct action *action = input_action("{'name':'a','kind':'noop'}");
	json_t *json = action_definition_json(action);

	assert_int_equal(action->kind, ACTION_NOOP);
	assert_null(json_object_get(json, "http"));
	assert_null(json_object_get(json, "exec"));
	json_decref(json);
	action_unref(action);
}

static void test_method_is_post_when_there_is_a_body(void **state)
{
	struct action *action = input_action(HTTP_TARGET("'url':'http://h/','body':''"));

	assert_string_equal(action->http.method, "POST");
	action_unref(action);
	action = input_action(HTTP_TARGET("'url':'http://h/','body':'x','method':'PUT'"));
	assert_string_equal(action->http.method, "PUT");
	action_unref(action);
}

static void test_null_means_absent_everywhere(void **state)
{
	struct action *plain = input_action(HTTP_WITH(""));
	struct action *nulls = input_action(
		"{'name':'a','kind':'http','http':{'method':null,'url':'http://h/"
		"','headers':{'X':null},"
		"'body':null,'expect_status':null},'exec':null,'schedule':null,'timeout':null,"
		"'overlap':null,'queue_limit':null,'misfire':null,'misfire_grace':null,"
		"'max_lateness':null,'max_catchup':null,'pause_records':null,'on_interrupt':null,"
		"'retry':{'max_attempts':null,'backoff':null,'initial':null,'max':null,'jitter':"
		"null},"
		"'priority':null,'tags':null,'description':null}");
	auto_free char *expected = action_definition_text(plain),
		       *got = action_definition_text(nulls);

	assert_string_equal(got, expected);
	action_unref(plain);
	action_unref(nulls);
}

static void test_every_member_is_read(void **state)
{
	static const char full[] =
		"{'name':'Nightly.report_1-x','description':'','kind':'http','http':{'method':'"
		"PATCH',"
		"'url':'https://user.example.org:8443/"
		"a?b=c#d','headers':{'X-Team':'data','Accept':''},"
		"'body':'{}','expect_status':[204,'300-301'],'signing_secret':['NEW','OLD'],"
		"'connect_timeout':'1s','first_byte_timeout':'3s','max_redirects':0},'schedule':{'"
		"cron':'30 2 * * "
		"*','timezone':'Europe/Paris',"
		"'dst_gap':'skip','dst_overlap':'both','day_match':'both'},'timeout':'1s',"
		"'overlap':'queue','queue_limit':7,'max_concurrent':0,'max_pending':9,'misfire':'"
		"all','misfire_grace':'2s',"
		"'max_lateness':'3s','max_catchup':9,'pause_records':false,'on_interrupt':'hold',"
		"'retry':{'max_attempts':5,'backoff':'linear','initial':'1s','max':'2s','jitter':0."
		"125,'on':['timeout','status:429','status:500-599','other']},"
		"'priority':-100,'tags':['reports','b c']}";
	struct action *action = input_action(full);

	assert_definition(action, full);
	assert_int_equal(action->http.header_count, 2);
	assert_string_equal(action->http.headers[0].value, "data");
	assert_true(http_target_expects(&action->http, 204));
	assert_false(http_target_expects(&action->http, 200));
	assert_non_null(action->schedule);
	assert_int_equal(action->overlap, OVERLAP_QUEUE);
	assert_int_equal(action->misfire.policy, MISFIRE_ALL);
	assert_int_equal(action->misfire.max_catchup, 9);
	assert_int_equal(action->on_interrupt, ON_INTERRUPT_HOLD);
	assert_int_equal(action->retry.backoff, BACKOFF_LINEAR);
	assert_string_equal(action->tags[1], "b c");
	action_unref(action);
}

static void test_shell_command_is_one_string(void **state)
{
	static const char *const inputs[] = {
		"'shell':true,'command':'a | b'", "'shell':true,'command':['a | b']"};

	for (size_t i = 0; i < COUNT_OF(inputs); i++) {
		auto_free char *input = xasprintf(EXEC_TARGET("%s"), inputs[i]);
		struct action *action = input_action(input);
		json_t *json = action_definition_json(action);

		assert_true(action->exec.use_shell);
		assert_string_equal(action->exec.command[0], "a | b");
		assert_null(action->exec.command[1]);
		assert_string_equal(json_string_value(json_object_get(
					    json_object_get(json, "exec"), "command")),
			"a | b");
		json_decref(json);
		action_unref(action);
	}
}

/* --- what is wrong --- */

struct fault_row {
	const char *input;
	const char *pointer;
	const char *detail;
};

#define KIND_LIST                                                                                  \
	"known are name, description, kind, http, exec, sql, schedule, timeout, overlap, "         \
	"queue_limit, max_concurrent, max_pending, misfire, misfire_grace, max_lateness, "         \
	"max_catchup, pause_records, "                                                             \
	"on_interrupt, retry, priority, retention, expect_success_within, on_failure, "            \
	"on_recovery, on_late, tags"
/* clang-format off */
static const struct fault_row fault_rows[] = {
	{"[]", "", "an action must be an object, not a list"},
	{"'text'", "", "an action must be an object, not a string"},
	{"1", "", "an action must be an object, not a number"},

	/* names of members */
	{HTTP_WITH(",'timout':'1s'"), "/timout", "unknown member 'timout'; did you mean 'timeout'?"},
	{HTTP_WITH(",'Priority':1"), "/Priority", "unknown member 'Priority'; did you mean 'priority'?"},
	{HTTP_WITH(",'nmae':null"), "/nmae", "unknown member 'nmae'; did you mean 'name'?"},
	{HTTP_WITH(",'zzzzzzzz':1"), "/zzzzzzzz", "unknown member 'zzzzzzzz'; " KIND_LIST},
	{HTTP_WITH(",'a/b~c':1"), "/a~1b~0c", "unknown member 'a/b~c'; " KIND_LIST},
	{HTTP_WITH(",'retry':{'max_attempt':1}"), "/retry/max_attempt",
		"unknown member 'max_attempt'; did you mean 'max_attempts'?"},
	{HTTP_TARGET("'url':'http://h/','header':{}"), "/http/header",
		"unknown member 'header'; did you mean 'headers'?"},
	{EXEC_TARGET("'command':['a'],'limits':{'cpu':'10ms'}"), "/exec/limits/cpu", "'10ms' is below 1s"},
	{EXEC_TARGET("'command':['a'],'limits':{'memory':'1KiB'}"), "/exec/limits/memory",
		"1024 bytes are not within 1048576 to 1125899906842624"},
	{EXEC_TARGET("'command':['a'],'limits':{'memory':'much'}"), "/exec/limits/memory",
		"must be a size such as 64MiB or a number of bytes"},
	{EXEC_TARGET("'command':['a'],'limits':{'core':1}"), "/exec/limits/core", "unknown member 'core'; known are cpu, memory, file_size, files, processes, nice"},
	{EXEC_TARGET("'command':['a'],'cmd':1"), "/exec/cmd", "unknown member 'cmd'; did you mean 'cwd'?"},
	{HTTP_WITH(",'schedule':{'every':'1m','cronn':'x'}"), "/schedule/cronn",
		"unknown member 'cronn'; did you mean 'cron'?"},

	/* retention, alerts */
	{HTTP_WITH(",'retention':{'age':'1s'}"), "/retention/age", "'1s' is below 1m"},
	{HTTP_WITH(",'retention':{'count':0}"), "/retention/count", "0 is below 1"},
	{HTTP_WITH(",'on_failure':'a'"), "/on_failure", "an action cannot tell itself: name another one"},
	{HTTP_WITH(",'on_late':'b'"), "/on_late", "needs 'expect_success_within': else it would never be late"},
	{HTTP_WITH(",'schedule':{'on':'action.*.failed'}"), "/schedule/on",
		"event name 'action.*.failed' must be 1 to 200 letters, digits, '.', '_', '-' and ':', or action.*. and one of failing, recovered, late"},

	/* name, description, tags */
	{"{'kind':'http','http':{'url':'http://h/'}}", "/name", "is required"},
	{"{'name':null,'kind':'http','http':{'url':'http://h/'}}", "/name", "is required"},
	{"{'name':1,'kind':'http','http':{'url':'http://h/'}}", "/name", "must be a string, not a number"},
	{"{'name':'','kind':'http','http':{'url':'http://h/'}}", "/name", "must not be empty"},
	{"{'name':'-a','kind':'http','http':{'url':'http://h/'}}", "/name",
		"'-a' must begin with a letter or a digit"},
	{"{'name':'a b','kind':'http','http':{'url':'http://h/'}}", "/name",
		"'a b' may hold only letters, digits, '.', '_' and '-'"},
	{"{'name':'a/b','kind':'http','http':{'url':'http://h/'}}", "/name",
		"'a/b' may hold only letters, digits, '.', '_' and '-'"},
	{"{'name':'n\u00e4chtlich','kind':'http','http':{'url':'http://h/'}}", "/name",
		"'n\u00e4chtlich' may hold only letters, digits, '.', '_' and '-'"},
	{"{'name':'0193AAAA-0000-7000-8000-000000000001','kind':'http','http':{'url':'http://h/'}}", "/name",
		"'0193AAAA-0000-7000-8000-000000000001' looks like an id; choose a name that does not"},
	{HTTP_WITH(",'description':false"), "/description", "must be a string, not true or false"},
	{HTTP_WITH(",'tags':'x'"), "/tags", "must be a list of strings, not a string"},
	{HTTP_WITH(",'tags':['a',1]"), "/tags/1", "must be a string, not a number"},
	{HTTP_WITH(",'tags':['a','']"), "/tags/1", "must not be empty"},
	{HTTP_WITH(",'tags':['a',null]"), "/tags/1", "must be a string, not null"},
	{HTTP_WITH(",'tags':['a','b','a']"), "/tags/2", "'a' is given twice"},
	{HTTP_WITH(",'tags':['a\\n']"), "/tags/0", "must not contain control characters"},

	/* kind and targets */
	{"{'name':'a'}", "/kind", "is required"},
	{"{'name':'a','kind':'mail'}", "/kind", "'mail' is none of http, exec, sql, noop"},
	{"{'name':'a','kind':['http']}", "/kind", "must be one of http, exec, sql, noop, not a list"},
	{"{'name':'a','kind':'noop','exec':{'command':['x']}}", "/exec",
		"must be left out (in a PATCH: null): the kind is 'noop'"},
	{"{'name':'a','kind':'http'}", "/http", "is required: the kind is 'http'"},
	{"{'name':'a','kind':'exec'}", "/exec", "is required: the kind is 'exec'"},
	{HTTP_WITH(",'exec':{'command':['a']}"), "/exec",
		"must be left out (in a PATCH: null): the kind is 'http'"},
	{"{'name':'a','kind':'http','http':'http://h/'}", "/http", "must be an object, not a string"},

	/* http */
	{HTTP_TARGET(""), "/http/url", "is required"},
	{HTTP_TARGET("'url':'ftp://h/'"), "/http/url", "must begin with http:// or https://"},
	{HTTP_TARGET("'url':'h/path'"), "/http/url", "must begin with http:// or https://"},
	{HTTP_TARGET("'url':'http:h'"), "/http/url", "must begin with http:// or https://"},
	{HTTP_TARGET("'url':'http://u:p@h/'"), "/http/url",
		"must not hold a user or a password; send an Authorization header"},
	{HTTP_TARGET("'url':'http://'"), "/http/url",
		"needs a host such as example.org, example.org:8080 or [::1]"},
	{HTTP_TARGET("'url':'http:///x'"), "/http/url",
		"needs a host such as example.org, example.org:8080 or [::1]"},
	{HTTP_TARGET("'url':'http://:80/'"), "/http/url",
		"needs a host such as example.org, example.org:8080 or [::1]"},
	{HTTP_TARGET("'url':'http://h:/'"), "/http/url",
		"needs a host such as example.org, example.org:8080 or [::1]"},
	{HTTP_TARGET("'url':'http://h:0/'"), "/http/url",
		"needs a host such as example.org, example.org:8080 or [::1]"},
	{HTTP_TARGET("'url':'http://h:65536/'"), "/http/url",
		"needs a host such as example.org, example.org:8080 or [::1]"},
	{HTTP_TARGET("'url':'http://h:80x'"), "/http/url",
		"needs a host such as example.org, example.org:8080 or [::1]"},
	{HTTP_TARGET("'url':'http://h%41/'"), "/http/url",
		"needs a host such as example.org, example.org:8080 or [::1]"},
	{HTTP_TARGET("'url':'http://[::1/'"), "/http/url",
		"needs a host such as example.org, example.org:8080 or [::1]"},
	{HTTP_TARGET("'url':'http://[]/'"), "/http/url",
		"needs a host such as example.org, example.org:8080 or [::1]"},
	{HTTP_TARGET("'url':'http://[::1]x/'"), "/http/url",
		"needs a host such as example.org, example.org:8080 or [::1]"},
	{HTTP_TARGET("'url':'http://h/a b'"), "/http/url", "must not contain spaces, control characters, "
		"backslashes or other than ASCII; write them percent-encoded"},
	{HTTP_TARGET("'url':'http://h\\\\@x/'"), "/http/url", "must not contain spaces, control characters, "
		"backslashes or other than ASCII; write them percent-encoded"},
	{HTTP_TARGET("'url':'http://h/\\r\\nX: y'"), "/http/url", "must not contain spaces, control characters, "
		"backslashes or other than ASCII; write them percent-encoded"},
	{HTTP_TARGET("'url':'http://h/\u00fc'"), "/http/url", "must not contain spaces, control characters, "
		"backslashes or other than ASCII; write them percent-encoded"},
	{HTTP_TARGET("'url':'http://h/','method':'get'"), "/http/method",
		"'get' is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
	{HTTP_TARGET("'url':'http://h/','method':'CONNECT'"), "/http/method",
		"'CONNECT' is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
	{HTTP_TARGET("'url':'http://h/','body':{}"), "/http/body", "must be a string, not an object"},
	{HTTP_TARGET("'url':'http://h/','headers':['X: y']"), "/http/headers",
		"must be an object of names and strings, not a list"},
	{HTTP_TARGET("'url':'http://h/','headers':{'X y':'z'}"), "/http/headers/X y",
		"'X y' is not a header name (RFC 9110 token)"},
	{HTTP_TARGET("'url':'http://h/','headers':{'':'z'}"), "/http/headers/",
		"a name must have 1 to 128 bytes"},
	{HTTP_TARGET("'url':'http://h/','headers':{'X':7}"), "/http/headers/X",
		"must be a string, not a number"},
	{HTTP_TARGET("'url':'http://h/','headers':{'X':'a\\r\\nY: b'}"), "/http/headers/X",
		"must not contain line breaks or other control characters"},
	{HTTP_TARGET("'url':'http://h/','headers':{'X-A':'1','x-a':'2'}"), "/http/headers/x-a",
		"is given twice; upper and lower case are the same here"},
	{HTTP_TARGET("'url':'http://h/','expect_status':'2xx'"), "/http/expect_status",
		"must be a status such as 204 or a range such as \"200-299\", within 100 to 599"},
	{HTTP_TARGET("'url':'http://h/','expect_status':'299-200'"), "/http/expect_status",
		"must be a status such as 204 or a range such as \"200-299\", within 100 to 599"},
	{HTTP_TARGET("'url':'http://h/','expect_status':'200-'"), "/http/expect_status",
		"must be a status such as 204 or a range such as \"200-299\", within 100 to 599"},
	{HTTP_TARGET("'url':'http://h/','expect_status':99"), "/http/expect_status",
		"must be a status such as 204 or a range such as \"200-299\", within 100 to 599"},
	{HTTP_TARGET("'url':'http://h/','expect_status':4294967496"), "/http/expect_status",
		"must be a status such as 204 or a range such as \"200-299\", within 100 to 599"},
	{HTTP_TARGET("'url':'http://h/','expect_status':'200-600'"), "/http/expect_status",
		"must be a status such as 204 or a range such as \"200-299\", within 100 to 599"},

	/* exec */
	{EXEC_TARGET(""), "/exec/command", "is required"},
	{EXEC_TARGET("'command':null"), "/exec/command", "is required"},
	{EXEC_TARGET("'command':'df -h'"), "/exec/command", "a string is for a shell: set \"shell\": true, or "
		"write a list such as [\"/bin/echo\", \"hello\"]"},
	{EXEC_TARGET("'command':7"), "/exec/command", "must be a list of strings, not a number"},
	{EXEC_TARGET("'command':[]"), "/exec/command", "must have 1 to 256 elements, not 0"},
	{EXEC_TARGET("'command':['']"), "/exec/command/0", "must not be empty"},
	{EXEC_TARGET("'command':['a',1]"), "/exec/command/1", "must be a string, not a number"},
	{EXEC_TARGET("'command':['a','b'],'shell':true"), "/exec/command",
		"with \"shell\": true there is one string, not a list of several"},
	{EXEC_TARGET("'command':'','shell':true"), "/exec/command", "must not be empty"},
	{EXEC_TARGET("'command':['a'],'shell':1"), "/exec/shell", "must be true or false, not a number"},
	{EXEC_TARGET("'command':['a'],'cwd':'tmp'"), "/exec/cwd", "'tmp' must be an absolute path"},
	{EXEC_TARGET("'command':['a'],'cwd':'/t\\n'"), "/exec/cwd", "must not contain control characters"},
	{EXEC_TARGET("'command':['a'],'env':{'1A':'x'}"), "/exec/env/1A",
		"'1A' is not a variable name: letters, digits and '_' only, no digit first"},
	{EXEC_TARGET("'command':['a'],'env':{'A=B':'x'}"), "/exec/env/A=B",
		"'A=B' is not a variable name: letters, digits and '_' only, no digit first"},
	{EXEC_TARGET("'command':['a'],'env':{'GATHERING_RUN_ID':'x'}"), "/exec/env/GATHERING_RUN_ID",
		"'GATHERING_RUN_ID': names that begin with GATHERING_ are set by the server"},
	{EXEC_TARGET("'command':['a'],'env':{'A':1}"), "/exec/env/A", "must be a string, not a number"},
	{EXEC_TARGET("'command':['a'],'user':'-r'"), "/exec/user", "'-r' is not a user name"},
	{EXEC_TARGET("'command':['a'],'user':'a b'"), "/exec/user", "'a b' is not a user name"},
	{EXEC_TARGET("'command':['a'],'user':'a$b'"), "/exec/user", "'a$b' is not a user name"},

	/* numbers, durations, words */
	{HTTP_WITH(",'timeout':60"), "/timeout", "must be a duration such as \"10m\", not a number"},
	{HTTP_WITH(",'timeout':'60'"), "/timeout",
		"'60' is not a duration such as 250ms, 10s, 1h30m or 7d"},
	{HTTP_WITH(",'timeout':'-1s'"), "/timeout",
		"'-1s' is not a duration such as 250ms, 10s, 1h30m or 7d"},
	{HTTP_WITH(",'timeout':'0s'"), "/timeout", "'0s' is below 1ms"},
	{HTTP_WITH(",'timeout':'8d'"), "/timeout", "'8d' is above 1w"},
	{HTTP_WITH(",'queue_limit':1.5"), "/queue_limit",
		"must be a whole number, not a number with a fraction"},
	{HTTP_WITH(",'queue_limit':'1'"), "/queue_limit", "must be a whole number, not a string"},
	{HTTP_WITH(",'max_catchup':-1"), "/max_catchup", "-1 is below 0"},
	{HTTP_WITH(",'max_catchup':4294967297"), "/max_catchup", "4294967297 is above 1000"},
	{HTTP_WITH(",'pause_records':'yes'"), "/pause_records", "must be true or false, not a string"},
	{HTTP_WITH(",'overlap':'both'"), "/overlap", "'both' is none of skip, queue, allow, cancel_running"},
	{HTTP_WITH(",'misfire':'none'"), "/misfire", "'none' is none of latest, skip, earliest, all"},
	{HTTP_WITH(",'on_interrupt':'Retry'"), "/on_interrupt", "'Retry' is none of retry, fail, hold"},
	{HTTP_WITH(",'retry':3"), "/retry", "must be an object, not a number"},
	{HTTP_WITH(",'retry':{'backoff':'quadratic'}"), "/retry/backoff",
		"'quadratic' is none of fixed, linear, exponential"},
	{HTTP_WITH(",'retry':{'jitter':1.01}"), "/retry/jitter", "1.01 is not within 0 to 1"},
	{HTTP_WITH(",'retry':{'jitter':-1}"), "/retry/jitter", "-1 is not within 0 to 1"},
	{HTTP_WITH(",'retry':{'jitter':'0.2'}"), "/retry/jitter", "must be a number from 0 to 1, not a string"},
	{HTTP_WITH(",'retry':{'initial':'11m'}"), "/retry/initial", "must not be above 'max'"},
	{HTTP_WITH(",'retry':{'on':['timeout','exit:75']}"), "/retry/on/1",
		"an action of kind 'http' never fails with 'exit'"},
	{"{'name':'a','kind':'exec','exec':{'command':['a']},'retry':{'on':['status:503']}}", "/retry/on/0",
		"an action of kind 'exec' never fails with 'status'"},
	{"{'name':'a','kind':'exec','exec':{'command':['a']},'retry':{'on':['connection']}}", "/retry/on/0",
		"an action of kind 'exec' never fails with 'connection'"},

	/* schedule */
	{HTTP_WITH(",'schedule':'* * * * *'"), "/schedule",
		"must be an object such as {\"cron\": \"30 2 * * *\"}, not a string"},
	{HTTP_WITH(",'schedule':{}"), "/schedule", "needs one of 'cron', 'every', 'every_after', 'at', 'rrule' and 'on', or 'run_on_start'"},
	{HTTP_WITH(",'schedule':{'timezone':'UTC'}"), "/schedule", "needs one of 'cron', 'every', 'every_after', 'at', 'rrule' and 'on', or 'run_on_start'"},
	{HTTP_WITH(",'schedule':{'cron':'* * * * *','every':'1m'}"), "/schedule",
		"has 'cron' 'every'; only one of them can hold (in a PATCH, set the other to null)"},
	{HTTP_WITH(",'schedule':{'cron':'* * * * *','anchor':'2026-01-01T00:00:00Z'}"), "/schedule/anchor",
		"goes with 'every' only"},
	{HTTP_WITH(",'schedule':{'cron':5}"), "/schedule/cron", "must be a string, not a number"},
	{HTTP_WITH(",'schedule':{'cron':'0 25 * * *'}"), "/schedule/cron", "cron field 'hour': 25 is above 23"},
	{HTTP_WITH(",'schedule':{'every':'1m','dst_gap':'never'}"), "/schedule/dst_gap",
		"'never' is none of run_after, skip"},
	{HTTP_WITH(",'schedule':{'on':'a b'}"), "/schedule/on",
		"event name 'a b' must be 1 to 200 letters, digits, '.', '_', '-' and ':', or action.*. and one of failing, recovered, late"},
	{HTTP_WITH(",'schedule':{'on':'e','every_after':'1m'}"), "/schedule",
		"has 'every_after' 'on'; only one of them can hold (in a PATCH, set the other to null)"},
	{HTTP_WITH(",'schedule':{'on':'e','end_at':'2026-01-01T00:00:00Z'}"), "/schedule/end_at",
		"'end_at' goes with due times, and 'on' has none"},
	{HTTP_WITH(",'schedule':{'on':'e','max_runs':3}"), "/schedule/max_runs",
		"'max_runs' goes with due times, and 'on' has none"},
	{HTTP_WITH(",'schedule':{'on':'e','blackout':[{'cron':'@daily','duration':'1h'}]}"), "/schedule/blackout",
		"'blackout' goes with due times, and 'on' has none"},
	{HTTP_WITH(",'schedule':{'every_after':'50ms'}"), "/schedule/every_after", "interval '50ms' is below 100ms"},
	{HTTP_WITH(",'schedule':{'every_after':'1m','jitter':'1s'}"), "/schedule/jitter",
		"'jitter' does not go with 'every_after', whose due times follow the runs"},
	{HTTP_WITH(",'schedule':{'every':'1m','blackout':{}}"), "/schedule/blackout",
		"must be a list of windows, not an object"},
	{HTTP_WITH(",'schedule':{'every':'1m','blackout':[5]}"), "/schedule/blackout/0",
		"must be an object with 'cron' and 'duration', or 'from' and 'to'"},
	{HTTP_WITH(",'schedule':{'every':'1m','blackout':[{'cron':'0 25 * * *','duration':'1h'}]}"), "/schedule/blackout",
		"window 1: cron field 'hour': 25 is above 23"},
};
/* clang-format on */

static void check_fault(const struct fault_row *row)
{
	struct faults faults;
	struct action *action = input_read(row->input, NULL, &faults);

	if (action != NULL)
		fail_msg("taken: %s", row->input);
	if (faults.count != 1 || strcmp(faults.item[0].pointer, row->pointer) != 0 ||
		strcmp(faults.item[0].detail, row->detail) != 0)
		fail_msg("%s: %zu faults: '%s': %s", row->input, faults.count,
			faults.item[0].pointer, faults.item[0].detail);
}

static void test_each_fault_is_named_with_its_place(void **state)
{
	for (size_t i = 0; i < COUNT_OF(fault_rows); i++)
		check_fault(&fault_rows[i]);
}

static void test_headers_of_the_server_are_refused(void **state)
{
	static const char *const names[] = {"Host", "HOST", "content-length", "Transfer-Encoding",
		"connection", "Expect", "te", "Trailer", "Upgrade", "idempotency-key",
		"X-Gathering-Run-Id", "x-gathering-", "webhook-id", "Webhook-Whatever",
		"traceparent"};
	static const char *const fine[] = {"Hosts", "X-Gathering", "webhook", "Content-Type", "Tea",
		"Authorization", "User-Agent"};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		auto_free char *input =
			xasprintf(HTTP_TARGET("'url':'http://h/','headers':{'%s':'x'}"), names[i]);
		auto_free char *pointer = xasprintf("/http/headers/%s", names[i]);
		auto_free char *detail =
			xasprintf("'%s' is set by the server and cannot be chosen", names[i]);

		check_fault(&(struct fault_row){input, pointer, detail});
	}
	for (size_t i = 0; i < COUNT_OF(fine); i++) {
		auto_free char *input =
			xasprintf(HTTP_TARGET("'url':'http://h/','headers':{'%s':'x'}"), fine[i]);

		action_unref(input_action(input));
	}
}

static void test_urls_that_are_fine(void **state)
{
	static const char *const urls[] = {"http://h", "HTTP://h", "https://h:65535",
		"http://127.0.0.1:1/", "http://[::1]:80/x", "http://[::ffff:1.2.3.4]",
		"http://h?x=@y", "http://h/a@b", "http://h/{{due_date}}", "http://a-b_c.example.",
		"http://h:08080/"};

	for (size_t i = 0; i < COUNT_OF(urls); i++) {
		auto_free char *input = xasprintf(HTTP_TARGET("'url':'%s'"), urls[i]);

		action_unref(input_action(input));
	}
}

static void test_faults_are_all_counted_and_the_first_kept(void **state)
{
	struct faults faults;
	struct buf input;

	buf_init(&input, INPUT_MAX);
	buf_puts(&input, "{'name':'a','kind':'http','http':{'url':'http://h/'},'timeout':1");
	for (int i = 0; i < 40; i++)
		buf_printf(&input, ",'zzzzzzzzzz%d':1", i);
	buf_puts(&input, "}");
	assert_null(input_read(buf_text(&input), NULL, &faults));
	assert_int_equal(faults.count, 41);
	assert_string_equal(faults.item[0].pointer, "/timeout");
	assert_string_equal(faults.item[FAULTS_MAX - 1].pointer, "/zzzzzzzzzz14");
	buf_fini(&input);
}

/* What was sent is quoted, cut anywhere, and still has to be JSON when it is sent back. */
static void test_faults_stay_utf8_when_cut(void **state)
{
	for (size_t pad = 0; pad < 8; pad++) {
		struct faults faults;
		struct buf input;

		buf_init(&input, INPUT_MAX);
		buf_printf(&input, HTTP_WITH(",'%.*s"), (int)pad, "xxxxxxxx");
		input.len--; /* the brace */
		for (int i = 0; i < 200; i++)
			buf_puts(&input, "\u20ac");
		buf_puts(&input, "':1}");
		assert_null(input_read(buf_text(&input), NULL, &faults));
		assert_int_equal(faults.count, 1);
		assert_true(utf8_is_valid(faults.item[0].pointer, strlen(faults.item[0].pointer)));
		assert_true(utf8_is_valid(faults.item[0].detail, strlen(faults.item[0].detail)));
		assert_in_range(strlen(faults.item[0].pointer), 90, 95);
		buf_fini(&input);
	}
}

/* --- limits --- */

/* Reads `before`, `count` times `unit`, `after`. */
static struct action *read_repeated(const char *before, const char *unit, size_t count,
	const char *after, struct faults *ret_faults)
{
	struct action *action;
	struct buf input;

	buf_init(&input, INPUT_MAX);
	buf_puts(&input, before);
	for (size_t i = 0; i < count; i++) {
		const char *number = strchr(unit, '#'); /* '#': the number of the repetition */

		if (number == NULL)
			buf_puts(&input, unit);
		else
			buf_printf(&input, "%.*s%zu%s", (int)(number - unit), unit, i, number + 1);
	}
	buf_puts(&input, after);
	assert_false(input.is_cut);
	action = input_read(buf_text(&input), NULL, ret_faults);
	buf_fini(&input);
	return action;
}

struct limit_row {
	const char *before, *unit, *after;
	size_t most; /* repetitions that are taken; one more is not */
	const char *pointer, *detail;
};

/* clang-format off */
static const struct limit_row limit_rows[] = {
	{"{'name':'", "x", "','kind':'http','http':{'url':'http://h/'}}", ACTION_NAME_MAX,
		"/name", "129 bytes are above the limit of 128"},
	{"{'name':'a','kind':'http','http':{'url':'http://h/'},'description':'", "x", "'}", ACTION_DESCRIPTION_MAX,
		"/description", "4097 bytes are above the limit of 4096"},
	{"{'name':'a','kind':'http','http':{'url':'http://h/'},'tags':['", "x", "']}", ACTION_TAG_BYTES_MAX,
		"/tags/0", "65 bytes are above the limit of 64"},
	{"{'name':'a','kind':'http','http':{'url':'http://h/'},'tags':['t'", ",'#'", "]}", ACTION_TAGS_MAX - 1,
		"/tags", "33 tags are above the limit of 32"},
	{"{'name':'a','kind':'http','http':{'url':'http://h/", "x", "'}}", ACTION_URL_MAX - 9,
		"/http/url", "8193 bytes are above the limit of 8192"},
	{"{'name':'a','kind':'http','http':{'url':'http://h/','body':'", "x", "'}}", ACTION_BODY_MAX,
		"/http/body", "262145 bytes are above the limit of 262144"},
	{"{'name':'a','kind':'http','http':{'url':'http://h/','headers':{'X':'x'", ",'X#':''", "}}}", ACTION_HEADERS_MAX - 1,
		"/http/headers", "65 entries are above the limit of 64"},
	{"{'name':'a','kind':'http','http':{'url':'http://h/','headers':{'X':'", "x", "'}}}", ACTION_HEADER_VALUE_MAX,
		"/http/headers/X", "8193 bytes are above the limit of 8192"},
	{"{'name':'a','kind':'exec','exec':{'command':['x'", ",''", "]}}", ACTION_ARGV_MAX - 1,
		"/exec/command", "must have 1 to 256 elements, not 257"},
	{"{'name':'a','kind':'exec','exec':{'command':['x','", "x", "']}}", ACTION_ARGV_BYTES_MAX - 3,
		"/exec/command", "131073 bytes in all are above the limit of 131072"},
	{"{'name':'a','kind':'exec','exec':{'shell':true,'command':'", "x", "'}}", ACTION_ARGV_BYTES_MAX - 1,
		"/exec/command", "131072 bytes are above the limit of 131071"},
	{"{'name':'a','kind':'exec','exec':{'command':['x'],'env':{'X':''", ",'X#':''", "}}}", ACTION_ENV_MAX - 1,
		"/exec/env", "257 entries are above the limit of 256"},
	{"{'name':'a','kind':'exec','exec':{'command':['x'],'env':{'X':'", "x", "'}}}", ACTION_ENV_BYTES_MAX - 3,
		"/exec/env", "131073 bytes in all are above the limit of 131072"},
	{"{'name':'a','kind':'exec','exec':{'command':['x'],'stdin':'", "x", "'}}", ACTION_BODY_MAX,
		"/exec/stdin", "262145 bytes are above the limit of 262144"},
	{"{'name':'a','kind':'exec','exec':{'command':['x'],'cwd':'/", "x", "'}}", ACTION_PATH_MAX - 1,
		"/exec/cwd", "4096 bytes are above the limit of 4095"},
	{"{'name':'a','kind':'exec','exec':{'command':['x'],'user':'", "x", "'}}", ACTION_USER_MAX,
		"/exec/user", "33 bytes are above the limit of 32"},
};
/* clang-format on */

static void check_limit(const struct limit_row *row)
{
	struct faults faults;
	struct action *action =
		read_repeated(row->before, row->unit, row->most, row->after, &faults);

	if (action == NULL)
		fail_msg("at the limit: %s: %s", faults.item[0].pointer, faults.item[0].detail);
	action_unref(action);
	action = read_repeated(row->before, row->unit, row->most + 1, row->after, &faults);
	if (action != NULL)
		fail_msg("taken beyond the limit: %s", row->pointer);
	assert_int_equal(faults.count, 1);
	assert_string_equal(faults.item[0].pointer, row->pointer);
	assert_string_equal(faults.item[0].detail, row->detail);
}

static void test_sizes_at_and_beyond_their_limits(void **state)
{
	for (size_t i = 0; i < COUNT_OF(limit_rows); i++)
		check_limit(&limit_rows[i]);
}

static void test_header_names_and_total_are_limited(void **state)
{
	auto_free char *value = xcalloc(1, ACTION_HEADER_VALUE_MAX);
	auto_free char *name = xcalloc(1, ACTION_HEADER_NAME_MAX + 2);
	auto_free char *unit = NULL, *input = NULL;
	struct faults faults;

	memset(value, 'v', ACTION_HEADER_VALUE_MAX - 6); /* "X-#", "ab", and two for the frame */
	unit = xasprintf(",'X#':'%s'", value);
	action_unref(read_repeated(
		"{'name':'a','kind':'http','http':{'url':'http://h/','headers':{'X':''", unit, 8,
		"}}}", &faults));
	assert_int_equal(faults.count, 0);
	assert_null(read_repeated(
		"{'name':'a','kind':'http','http':{'url':'http://h/','headers':{'X':''", unit, 9,
		"}}}", &faults));
	assert_string_equal(faults.item[0].pointer, "/http/headers");

	memset(name, 'n', ACTION_HEADER_NAME_MAX);
	input = xasprintf(HTTP_TARGET("'url':'http://h/','headers':{'%s':''}"), name);
	action_unref(input_action(input));
	free(take_ptr(input));
	name[ACTION_HEADER_NAME_MAX] = 'n';
	input = xasprintf(HTTP_TARGET("'url':'http://h/','headers':{'%s':''}"), name);
	assert_null(input_read(input, NULL, &faults));
	assert_string_equal(faults.item[0].detail, "a name must have 1 to 128 bytes");
}

struct range_row {
	const char *format; /* with one %s */
	const char *fine[2];
	const char *bad[2];
};

/* clang-format off */
static const struct range_row range_rows[] = {
	{HTTP_WITH(",'timeout':'%s'"), {"1ms", "7d"}, {"0ms", "7d1ms"}},
	{HTTP_WITH(",'misfire_grace':'%s'"), {"0s", "7d"}, {"-1s", "7d1ms"}},
	{HTTP_WITH(",'max_lateness':'%s'"), {"0s", "366d"}, {"-1s", "366d1ms"}},
	{HTTP_WITH(",'retry':{'initial':'%s','max':'24h'}"), {"0s", "24h"}, {"-1s", "24h1ms"}},
	{HTTP_WITH(",'retry':{'initial':'0s','max':'%s'}"), {"0s", "24h"}, {"-1s", "24h1ms"}},
	{HTTP_WITH(",'retry':{'max_attempts':%s}"), {"1", "100"}, {"0", "101"}},
	{HTTP_WITH(",'retry':{'jitter':%s}"), {"0", "1.0"}, {"-0.000001", "1.000001"}},
	{HTTP_WITH(",'queue_limit':%s"), {"1", "1000"}, {"0", "1001"}},
	{HTTP_WITH(",'overlap':'allow','max_concurrent':%s"), {"0", "100000"}, {"-1", "100001"}},
	{HTTP_WITH(",'max_pending':%s"), {"1", "1000000"}, {"0", "1000001"}},
	{HTTP_WITH(",'max_catchup':%s"), {"0", "1000"}, {"-1", "1001"}},
	{HTTP_WITH(",'priority':%s"), {"-100", "100"}, {"-101", "101"}},
	{HTTP_TARGET("'url':'http://h/','expect_status':%s"), {"100", "599"}, {"99", "600"}},
	{HTTP_TARGET("'url':'http://h:%s/'"), {"1", "65535"}, {"0", "65536"}},
};
/* clang-format on */

/* The format comes from the table above, nowhere else. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static bool is_taken(const char *format, const char *value)
{
	auto_free char *input = xasprintf(format, value);
	struct faults faults;
	struct action *action = input_read(input, NULL, &faults);

	action_unref(action);
	return action != NULL;
}
#pragma GCC diagnostic pop

static void test_numbers_at_and_beyond_their_ranges(void **state)
{
	for (size_t i = 0; i < COUNT_OF(range_rows); i++) {
		for (size_t j = 0; j < 2; j++) {
			if (!is_taken(range_rows[i].format, range_rows[i].fine[j]))
				fail_msg("refused: %s, %s", range_rows[i].format,
					range_rows[i].fine[j]);
			if (is_taken(range_rows[i].format, range_rows[i].bad[j]))
				fail_msg("taken: %s, %s", range_rows[i].format,
					range_rows[i].bad[j]);
		}
	}
}

static void test_nul_is_refused_even_when_the_parser_let_it_pass(void **state)
{
	struct action *action = NULL;
	struct faults faults = {0};
	json_t *json = input_json(HTTP_WITH(""));

	json_object_set_new(json, "description", json_stringn("a\0b", 3));
	assert_int_equal(action_from_json(json, NULL, &action, &faults), ERR_INVALID);
	assert_string_equal(faults.item[0].pointer, "/description");
	assert_string_equal(faults.item[0].detail, "must not contain a NUL character");
	json_decref(json);
}

/* --- schedules by themselves --- */

static void test_schedule_from_json_names_the_place_it_was_given(void **state)
{
	static const char *const pointers[][2] = {{"", "/cron"}, {"/schedule", "/schedule/cron"}};
	json_t *json = input_json("{'cron':'0 25 * * *'}");

	for (size_t i = 0; i < COUNT_OF(pointers); i++) {
		struct schedule *schedule = NULL;
		struct faults faults = {0};

		assert_int_equal(schedule_from_json(json, pointers[i][0], NULL, &schedule, &faults),
			ERR_INVALID);
		assert_null(schedule);
		assert_int_equal(faults.count, 1);
		assert_string_equal(faults.item[0].pointer, pointers[i][1]);
	}
	json_decref(json);
}

static void test_schedule_from_json_gives_what_is_due(void **state)
{
	json_t *json = input_json("{'every':'90s','anchor':'2026-01-01T00:00:10Z'}");
	struct schedule *schedule = NULL;
	struct faults faults = {0};

	assert_int_equal(schedule_from_json(json, "", NULL, &schedule, &faults), 0);
	assert_int_equal(schedule_kind(schedule), SCHEDULE_EVERY);
	assert_int_equal(schedule_next(schedule, 1767225610000), 1767225700000);
	schedule_unref(schedule);
	json_decref(json);
}

static void check_normal(const char *given, const char *normal)
{
	auto_free char *input = xasprintf(HTTP_WITH(",'schedule':%s"), given);
	struct action *action = input_action(input);
	json_t *expected = input_json(normal);
	auto_free char *text = json_dumps(action->schedule_json, JSON_WRITE_FLAGS);

	if (!json_equal(action->schedule_json, expected))
		fail_msg("%s: %s", given, text);
	json_decref(expected);
	action_unref(action);
}

static void test_schedule_is_stored_with_the_defaults_that_matter(void **state)
{
	check_normal("{'cron':'0 2 * * *'}",
		"{'cron':'0 2 * * *','timezone':'UTC','dst_gap':'run_after','dst_overlap':'first',"
		"'day_match':'either'}");
	check_normal(
		"{'every':'90s','dst_gap':'skip','cron':null}", "{'every':'90s','timezone':'UTC'}");
	check_normal("{'every':'1h','jitter':'5m','end_at':'2030-01-01T00:00:00Z','start_at':'2026-"
		     "01-01T00:00:00+01:00'}",
		"{'every':'1h','start_at':'2026-01-01T00:00:00+01:00','end_at':'2030-01-01T00:00:"
		"00Z','jitter':'5m','timezone':'UTC'}");
	check_normal("{'at':'2030-12-01T09:00:00+01:00','timezone':'Europe/Paris'}",
		"{'at':'2030-12-01T09:00:00+01:00','timezone':'Europe/Paris'}");
}

/* --- stored text --- */

static void test_stored_text_that_cannot_be_read_is_corrupt(void **state)
{
	static const char *const rows[][2] = {
		{"{\"name\":", "stored definition of an action: JSON, line 1, column 8: "},
		{"{\"name\":\"a\"}", "stored definition of an action: /kind: is required"},
		{"", "stored definition of an action: JSON expected, found"}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct action *action = NULL;
		struct err err = {0};

		assert_int_equal(action_from_text(rows[i][0], strlen(rows[i][0]), &action, &err),
			ERR_CORRUPT);
		assert_int_equal(err.code, ERR_CORRUPT);
		assert_null(action);
		if (strncmp(err.text, rows[i][1], strlen(rows[i][1])) != 0)
			fail_msg("%s", err.text);
		assert_int_equal(action_from_text(rows[i][0], strlen(rows[i][0]), &action, NULL),
			ERR_CORRUPT);
	}
}

/* Anything may come in. Nothing is asserted but what holds for all of it; the sanitizers watch. */
static void test_mutated_definitions_never_break_anything(void **state)
{
	static const char original[] =
		"{\"name\":\"a\",\"kind\":\"exec\",\"exec\":{\"shell\":false,\"command\":[\"x\","
		"\"y\"],"
		"\"env\":{\"A\":\"b\"}},\"schedule\":{\"cron\":\"0 2 * * *\",\"timezone\":\"UTC\"},"
		"\"retry\":{\"max_attempts\":5,\"jitter\":0.5,\"max\":\"1h\"},\"tags\":[\"t\"]}";
	struct seed seed = seed_start(__func__);

	for (int round = 0; round < MUTATIONS; round++) {
		char text[sizeof(original)];
		size_t len = sizeof(original) - 1;
		struct action *action = NULL;
		struct err err = {0};

		memcpy(text, original, sizeof(original));
		for (uint64_t i = seed_below(&seed, 4); i > 0; i--)
			text[seed_below(&seed, len)] = seed_below(&seed, 2)
							       ? original[seed_below(&seed, len)]
							       : (char)seed_next(&seed);
		if (action_from_text(text, len, &action, &err) != 0)
			assert_true(utf8_is_valid(err.text, strlen(err.text)));
		action_unref(action);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_of_an_http_action),
		cmocka_unit_test(test_defaults_of_an_exec_action),
		cmocka_unit_test(test_limits_are_written_as_far_as_they_are_set),
		cmocka_unit_test(test_a_noop_has_no_target),
		cmocka_unit_test(test_method_is_post_when_there_is_a_body),
		cmocka_unit_test(test_null_means_absent_everywhere),
		cmocka_unit_test(test_every_member_is_read),
		cmocka_unit_test(test_shell_command_is_one_string),
		cmocka_unit_test(test_each_fault_is_named_with_its_place),
		cmocka_unit_test(test_headers_of_the_server_are_refused),
		cmocka_unit_test(test_urls_that_are_fine),
		cmocka_unit_test(test_faults_are_all_counted_and_the_first_kept),
		cmocka_unit_test(test_faults_stay_utf8_when_cut),
		cmocka_unit_test(test_sizes_at_and_beyond_their_limits),
		cmocka_unit_test(test_header_names_and_total_are_limited),
		cmocka_unit_test(test_numbers_at_and_beyond_their_ranges),
		cmocka_unit_test(test_nul_is_refused_even_when_the_parser_let_it_pass),
		cmocka_unit_test(test_schedule_from_json_names_the_place_it_was_given),
		cmocka_unit_test(test_schedule_from_json_gives_what_is_due),
		cmocka_unit_test(test_schedule_is_stored_with_the_defaults_that_matter),
		cmocka_unit_test(test_stored_text_that_cannot_be_read_is_corrupt),
		cmocka_unit_test(test_mutated_definitions_never_break_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
