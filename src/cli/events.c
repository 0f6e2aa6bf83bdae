/* SPDX-License-Identifier: Apache-2.0
 *
 * `gathering event ...`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli_priv.h"
#include "cli/files.h"
#include "model/model.h"

/* --data is JSON, '@FILE' or '@-'. */
static int read_data(const char *data, json_t **ret_json, struct err *err)
{
	if (!data)
		return 0;
	if (data[0] == '@')
		return read_json_file(data + 1, ret_json, err);
	return json_from_text(data, strlen(data), ret_json, err);
}

static void tell(const json_t *answer)
{
	const json_t *runs = json_object_get(answer, "runs"), *run;
	size_t i;

	if (json_is_true(json_object_get(answer, "duplicate")))
		(void)puts("sent before with this key; nothing was started");
	else if (json_array_size(runs) == 0)
		(void)puts("sent; no action waits for it");
	json_array_foreach(runs, i, run)
	{
		const char *reason = get_text(run, "reason");

		(void)printf("%s  %s  %s%s%s\n", get_text(run, "id"), get_text(run, "action"),
			get_text(run, "state"), reason ? ": " : "", reason ? reason : "");
	}
}

int cmd_event_send(struct cli *cli)
{
	auto_free char *base = remote_path("/api/v1/events/", cli->args[0], "");
	json_t *payload = NULL, *answer = NULL;
	struct err err = {0};
	struct buf path;
	int status;

	if (read_data(cli_flag(cli, "data"), &payload, &err) < 0)
		return cli_usage(cli, "--data: %s", err.text);
	buf_init(&path, 8192);
	buf_puts(&path, base);
	remote_query(&path, "key", cli_flag(cli, "key"));
	status = remote_call(cli, "POST", buf_text(&path), payload, &answer);
	buf_fini(&path);
	json_decref(payload);
	if (status)
		return status;
	if (cli->is_json)
		print_json(answer);
	else
		tell(answer);
	json_decref(answer);
	return 0;
}
