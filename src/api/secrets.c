/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets: put, listed by name, deleted; their values are never shown again. They are sealed here,
 * before they go to the store. */
#include <string.h>

#include "api/api_priv.h"
#include "base/text.h"
#include "model/template.h"
#include "store/secrets.h"
#include "vault/vault.h"

/* --- list --- */

struct listing {
	struct api_call *call;
	struct store_get_secrets get;
};

static json_t *secret_json(const struct store_secret *secret)
{
	char created[RFC3339_TEXT_SIZE], updated[RFC3339_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s}", "name", secret->name, "created_at",
		format_rfc3339(secret->created_at_ms, created), "updated_at",
		format_rfc3339(secret->updated_at_ms, updated));
}

static void on_listed(struct store_req *req)
{
	struct listing *listing = container_of(req, struct listing, get.req);
	json_t *items;

	if (req->err.code != 0) {
		api_reply_err(listing->call, &req->err);
		return;
	}
	items = json_array();
	for (size_t i = 0; i < listing->get.ret_count; i++)
		json_array_append_new(items, secret_json(&listing->get.ret_secrets[i]));
	api_reply_json(listing->call, 200, json_pack("{s:o}", "items", items), NULL);
}

static void listing_fini(void *data)
{
	store_get_secrets_fini(&((struct listing *)data)->get);
}

void secrets_list(struct api_call *call)
{
	struct listing *listing = api_call_state(call, sizeof(*listing), listing_fini);

	listing->call = call;
	store_get_secrets(call->api->store, &listing->get, on_listed);
}

/* --- put --- */

struct putting {
	struct api_call *call;
	struct buf sealed;
	struct store_put_secret put;
};

static void on_put(struct store_req *req)
{
	struct putting *putting = container_of(req, struct putting, put.req);

	if (req->err.code != 0)
		api_reply_err(putting->call, &req->err);
	else
		api_reply_empty(putting->call, 204, NULL);
}

static void putting_fini(void *data)
{
	buf_fini(&((struct putting *)data)->sealed);
}

static bool has_control(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 && strchr("\t\n", *text) == NULL)
			return true;
	return false;
}

/* {"value": "..."} and nothing else; the text is borrowed from the JSON. NULL: `faults` gained. */
static const char *value_of(const json_t *json, struct faults *faults)
{
	const json_t *value = json_object_get(json, "value");
	size_t len = json_string_length(value);

	if (!json_is_string(value))
		faults_add(faults, "/value", "is required, and must be a string");
	else if (len < SECRET_VALUE_MIN || len > SECRET_VALUE_MAX)
		faults_add(faults, "/value", "must have %d to %d bytes", SECRET_VALUE_MIN,
			SECRET_VALUE_MAX);
	else if (has_control(json_string_value(value)))
		faults_add(faults, "/value",
			"must not contain control characters but tabs and line breaks");
	if (json_object_size(json) > 1)
		faults_add(faults, "", "only the member 'value' is known");
	return faults->count == 0 ? json_string_value(value) : NULL;
}

static void seal_and_put(struct api_call *call, const char *value)
{
	struct putting *putting = api_call_state(call, sizeof(*putting), putting_fini);

	putting->call = call;
	buf_init(&putting->sealed, strlen(value) + VAULT_OVERHEAD);
	vault_seal(call->api->opts.vault, call->param, value, &putting->sealed);
	putting->put.name = call->param;
	putting->put.sealed = putting->sealed.data;
	putting->put.len = putting->sealed.len;
	store_put_secret(call->api->store, &putting->put, on_put);
}

void secrets_put(struct api_call *call)
{
	struct faults faults = {.count = 0};
	const char *value;
	json_t *json;

	if (call->api->opts.vault == NULL) {
		api_reply_problem(call, ERR_FORBIDDEN,
			"this server keeps no secrets: set secret_key_file (gathering secret "
			"keygen makes the file)");
		return;
	}
	if (!api_read_json(call, api_json_types, &json))
		return;
	if (!secret_name_is_valid(call->param, strlen(call->param)))
		faults_add(&faults, "",
			"a secret's name has letters, digits and '_' only, no digit first, at most "
			"%d",
			SECRET_NAME_MAX);
	value = value_of(json, &faults);
	if (value != NULL)
		seal_and_put(call, value);
	else
		api_reply_faults(call, &faults);
	json_decref(json);
}

/* --- delete --- */

struct deletion {
	struct api_call *call;
	struct store_delete_secret delete;
};

static void on_deleted(struct store_req *req)
{
	struct deletion *deletion = container_of(req, struct deletion, delete.req);

	if (req->err.code != 0)
		api_reply_err(deletion->call, &req->err);
	else
		api_reply_empty(deletion->call, 204, NULL);
}

void secrets_delete(struct api_call *call)
{
	struct deletion *deletion;

	if (!api_read_nothing(call))
		return;
	deletion = api_call_state(call, sizeof(*deletion), NULL);
	deletion->call = call;
	deletion->delete.name = call->param;
	store_delete_secret(call->api->store, &deletion->delete, on_deleted);
}
