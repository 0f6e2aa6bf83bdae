/* SPDX-License-Identifier: Apache-2.0
 *
 * The schedule of an action: which members it may have, which go together, and the form that is
 * stored. What cron expressions and zones mean is plan/'s. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/model_priv.h"

/* A window of the blackout. */
struct window {
	char *from, *to, *cron, *duration;
};

/* As read: the strings owned here, borrowed by the spec for plan/. */
struct input {
	char *cron, *every, *every_after, *at, *rrule, *on, *anchor, *timezone, *start_at, *end_at,
		*jitter;
	int max_runs;
	bool run_on_start;
	struct window windows[BLACKOUTS_MAX];
	size_t window_count;
	enum dst_gap dst_gap;
	enum dst_overlap dst_overlap;
	enum day_match day_match;
};

#define WINDOW(field) offsetof(struct window, field)
static const struct member window_members[] = {
	{"from", WINDOW(from), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"to", WINDOW(to), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"cron", WINDOW(cron), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"duration", WINDOW(duration), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX}, {0}};
#undef WINDOW

static void read_blackout(const json_t *value, void *object, const struct place *place)
{
	struct input *input = object;
	size_t count = json_array_size(value);

	if (value != NULL && !json_is_array(value))
		place_fault(place, "must be a list of windows, not %s", json_kind(value));
	if (count > BLACKOUTS_MAX) {
		place_fault(place, "%zu windows are above the limit of %d", count, BLACKOUTS_MAX);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		struct place at = place_element(place, i);
		struct window *window = &input->windows[input->window_count++];

		if (json_is_object(json_array_get(value, i)))
			members_read(window_members, NULL, json_array_get(value, i), window, &at);
		else
			place_fault(&at,
				"must be an object with 'cron' and 'duration', or 'from' and "
				"'to'");
	}
}

static json_t *write_blackout(const void *object)
{
	const struct input *input = object;
	json_t *list;

	if (input->window_count == 0)
		return NULL;
	list = json_array();
	for (size_t i = 0; i < input->window_count; i++) {
		json_t *window = json_new_object();

		members_write(window_members, &input->windows[i], window);
		must(json_array_append_new(list, window) == 0);
	}
	return list;
}

#define INPUT(field) offsetof(struct input, field)
/* clang-format off */
static const struct member schedule_members[] = {
	{"cron", INPUT(cron), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"every", INPUT(every), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"every_after", INPUT(every_after), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"at", INPUT(at), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"rrule", INPUT(rrule), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"on", INPUT(on), MEMBER_TEXT, .min = 1, .max = EVENT_NAME_MAX},
	{"anchor", INPUT(anchor), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"start_at", INPUT(start_at), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"end_at", INPUT(end_at), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"max_runs", INPUT(max_runs), MEMBER_INT, .min = 0, .max = SCHEDULE_RUNS_MAX},
	{"run_on_start", INPUT(run_on_start), MEMBER_BOOL},
	{"jitter", INPUT(jitter), MEMBER_TEXT, .min = 1, .max = SCHEDULE_TEXT_MAX},
	{"blackout", .type = MEMBER_CUSTOM, .read = read_blackout, .write = write_blackout},
	{"timezone", INPUT(timezone), MEMBER_TEXT, .min = 1, .max = TIMEZONE_MAX},
	{"dst_gap", INPUT(dst_gap), MEMBER_ENUM, .fallback = DST_GAP_RUN_AFTER, .names = dst_gap_names},
	{"dst_overlap", INPUT(dst_overlap), MEMBER_ENUM, .fallback = DST_OVERLAP_FIRST, .names = dst_overlap_names},
	{"day_match", INPUT(day_match), MEMBER_ENUM, .fallback = DAY_MATCH_EITHER, .names = day_match_names},
	{0}};
/* clang-format on */
#undef INPUT

static void input_fini(struct input *input)
{
	free(input->cron);
	free(input->every);
	free(input->every_after);
	for (size_t i = 0; i < input->window_count; i++) {
		free(input->windows[i].from);
		free(input->windows[i].to);
		free(input->windows[i].cron);
		free(input->windows[i].duration);
	}
	free(input->at);
	free(input->rrule);
	free(input->on);
	free(input->anchor);
	free(input->timezone);
	free(input->start_at);
	free(input->end_at);
	free(input->jitter);
}

/* " 'cron' 'every'" */
#define KINDS_TEXT_SIZE 64
static int list_kinds(const struct input *input, char ret_text[static KINDS_TEXT_SIZE])
{
	const struct {
		const char *name, *text;
	} kinds[] = {{"cron", input->cron}, {"every", input->every},
		{"every_after", input->every_after}, {"at", input->at}, {"rrule", input->rrule},
		{"on", input->on}};
	int count = 0, len = 0;

	ret_text[0] = '\0';
	for (size_t i = 0; i < COUNT_OF(kinds); i++)
		if (kinds[i].text != NULL) {
			len += snprintf(ret_text + len, (size_t)(KINDS_TEXT_SIZE - len), " '%s'",
				kinds[i].name);
			count++;
		}
	return count;
}

static void check_input(const struct input *input, const struct place *place)
{
	struct place anchor = place_member(place, "anchor");
	char text[KINDS_TEXT_SIZE];
	int kinds = list_kinds(input, text);

	if (kinds == 0 && !input->run_on_start)
		place_fault(place,
			"needs one of 'cron', 'every', 'every_after', 'at', 'rrule' and 'on', or "
			"'run_on_start'");
	else if (kinds > 1)
		place_fault(place,
			"has%s; only one of them can hold (in a PATCH, set the other to null)",
			text);
	else if (input->anchor != NULL && input->every == NULL)
		place_fault(&anchor, "goes with 'every' only");
}

/* As written, with the defaults that have an effect: the rules for local time are those of
 * schedules that follow it. */
static json_t *normal_form(struct input *input)
{
	json_t *json = json_new_object();

	if (input->timezone == NULL && input->on == NULL)
		input->timezone = xstrdup("UTC");
	members_write(schedule_members, input, json);
	if (input->max_runs == 0)
		(void)json_object_del(json, "max_runs");
	if (!input->run_on_start)
		(void)json_object_del(json, "run_on_start");
	if (input->cron == NULL && input->rrule == NULL) {
		(void)json_object_del(json, "dst_gap");
		(void)json_object_del(json, "dst_overlap");
	}
	if (input->cron == NULL)
		(void)json_object_del(json, "day_match");
	return json;
}

/* plan/ names the member as "/cron"; here it stands within `place`. */
static void add_plan_fault(const struct err *err, const struct place *place)
{
	struct place at = place_member(place, err->field + (err->field[0] == '/'));

	place_fault(err->field[0] == '\0' ? place : &at, "%s", err->text);
}

static int parse_input(const struct input *input, const char *name, const struct place *place,
	struct schedule **ret_schedule)
{
	struct blackout_spec windows[BLACKOUTS_MAX];
	const struct schedule_spec spec = {
		.blackouts = windows,
		.blackout_count = input->window_count,
		.cron = input->cron,
		.every = input->every,
		.every_after = input->every_after,
		.max_runs = input->max_runs,
		.run_on_start = input->run_on_start,
		.anchor = input->anchor,
		.at = input->at,
		.rrule = input->rrule,
		.on = input->on,
		.timezone = input->timezone,
		.start_at = input->start_at,
		.end_at = input->end_at,
		.jitter = input->jitter,
		.name = name,
		.dst_gap = input->dst_gap,
		.dst_overlap = input->dst_overlap,
		.day_match = input->day_match,
	};
	struct err err = {0};
	int code;

	for (size_t i = 0; i < input->window_count; i++)
		windows[i] = (struct blackout_spec){.from = input->windows[i].from,
			.to = input->windows[i].to,
			.cron = input->windows[i].cron,
			.duration = input->windows[i].duration};
	code = schedule_parse(&spec, ret_schedule, &err);

	if (code != 0)
		add_plan_fault(&err, place);
	return code;
}

void schedule_read(const json_t *json, const char *name, const struct place *place,
	struct schedule **ret_schedule, json_t **ret_normal)
{
	size_t faults_before = place->faults->count;
	struct input input = {0};

	if (!json_is_object(json)) {
		place_fault(place, "must be an object such as {\"cron\": \"30 2 * * *\"}, not %s",
			json_kind(json));
		return;
	}
	members_read(schedule_members, NULL, json, &input, place);
	if (place->faults->count == faults_before)
		check_input(&input, place);
	if (place->faults->count == faults_before &&
		parse_input(&input, name, place, ret_schedule) == 0 && ret_normal != NULL)
		*ret_normal = normal_form(&input);
	input_fini(&input);
}

int schedule_from_json(const json_t *json, const char *pointer, const char *name,
	struct schedule **ret_schedule, struct faults *faults)
{
	const struct place place = {.name = pointer, .faults = faults};
	size_t faults_before = faults->count;

	schedule_read(json, name, &place, ret_schedule, NULL);
	return faults->count == faults_before ? 0 : ERR_INVALID;
}

json_t *due_to_json(const struct due *due)
{
	char at[RFC3339_TEXT_SIZE], local[RFC3339_TEXT_SIZE], nominal[RFC3339_TEXT_SIZE];
	char offset[UTC_OFFSET_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s, s:s?, s:s}", "due_at", format_rfc3339(due->at_ms, at),
		"local", format_rfc3339_offset(due->at_ms, due->utc_offset_s, local), "utc_offset",
		format_utc_offset(due->utc_offset_s, offset), "note", due->note, "nominal_at",
		format_rfc3339(due->nominal_ms, nominal));
}
