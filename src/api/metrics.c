/* SPDX-License-Identifier: Apache-2.0
 *
 * /metrics, and the figures of the connection pools, which also stand in /health/checks. All from
 * memory: a scrape costs the database nothing. */
#include <stdio.h>

#include "api/api_priv.h"
#include "base/metric.h"

#define METRICS_MAX (64 * 1024)

struct pool_field {
	enum metric_kind kind;
	const char *name; /* in JSON; behind "pool_" in the metric */
	const char *metric, *help;
	size_t offset; /* in struct store_pool */
};

static const struct pool_field pool_fields[] = {
#define X(kind, field, help)                                                                       \
	{METRIC_##kind, #field, "pool_" #field, help, offsetof(struct store_pool, field)},
#include "store/pools.def"
#undef X
};

static int64_t field_of(const struct store_pool *pool, const struct pool_field *field)
{
	return *(const int64_t *)((const char *)pool + field->offset);
}

static size_t list_pools(const struct api *api, struct store_pool ret_pools[static STORE_POOLS_MAX])
{
	return api->store ? store_pools(api->store, ret_pools) : 0;
}

json_t *pools_json(const struct api *api)
{
	struct store_pool pools[STORE_POOLS_MAX];
	size_t count = list_pools(api, pools);
	json_t *list = count > 0 ? json_array() : NULL;

	for (size_t i = 0; i < count; i++) {
		json_t *pool =
			json_pack("{s:s, s:b}", "name", pools[i].name, "is_up", pools[i].is_up);

		for (size_t f = 0; f < COUNT_OF(pool_fields); f++)
			json_object_set_new(pool, pool_fields[f].name,
				json_integer(field_of(&pools[i], &pool_fields[f])));
		json_array_append_new(list, pool);
	}
	return list;
}

static void write_pools(const struct api *api, struct buf *out)
{
	struct store_pool pools[STORE_POOLS_MAX];
	size_t count = list_pools(api, pools);

	for (size_t f = 0; f < COUNT_OF(pool_fields) && count > 0; f++) {
		const struct pool_field *field = &pool_fields[f];

		metric_write_head(out, field->kind, field->metric, field->help);
		for (size_t i = 0; i < count; i++) {
			char label[64];

			(void)snprintf(label, sizeof(label), "pool=\"%s\"", pools[i].name);
			metric_write_sample(
				out, field->kind, field->metric, label, field_of(&pools[i], field));
		}
	}
}

static void write_state(const struct api *api, struct buf *out)
{
	enum service_state now = life_state(api->opts.life);

	metric_write_head(
		out, METRIC_GAUGE, "state", "of the service: 1 for the one it is in, 0 for others");
	for (int state = 0; service_state_names[state]; state++) {
		char label[64];

		(void)snprintf(label, sizeof(label), "state=\"%s\"", service_state_names[state]);
		metric_write_sample(
			out, METRIC_GAUGE, "state", label, (enum service_state)state == now);
	}
}

/* What has ended; whoever asks when nothing has finds no samples. */
static void write_drain(const struct api *api, struct buf *out)
{
	struct life_event events[LIFE_EVENTS_MAX];
	size_t count = life_events(api->opts.life, events);

	metric_write_head(out, METRIC_GAUGE, "drain_ms",
		"how long each step of the drain under way has taken");
	for (size_t i = 0; i < count; i++) {
		char label[64];

		(void)snprintf(label, sizeof(label), "phase=\"%s\"", events[i].name);
		metric_write_sample(out, METRIC_GAUGE, "drain_ms", label, events[i].took_ms);
	}
}

void metrics_show(struct api_call *call)
{
	struct buf text;

	buf_init(&text, METRICS_MAX);
	metrics.probers = (int64_t)api_probers(call->api);
	metrics_write(&text);
	write_state(call->api, &text);
	write_drain(call->api, &text);
	write_pools(call->api, &text);
	api_reply_bytes(call, 200, "text/plain; version=0.0.4; charset=utf-8", buf_text(&text),
		text.len, NULL);
	buf_fini(&text);
}
