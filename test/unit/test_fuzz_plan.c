/* SPDX-License-Identifier: Apache-2.0
 *
 * A short run of test/fuzz/fuzz_cron.c without libFuzzer: good inputs, mutated by the thousand from
 * a printed seed. ASan, UBSan and the must() in there are the judges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../fuzz/fuzz_cron.c"
#include "seed.h"

#define ROUNDS    10000
#define INPUT_MAX 600

struct input {
	uint8_t bytes[INPUT_MAX];
	size_t len;
};

static const char *const texts[] = {
	"\x08*/5 9-17 * * MON-FRI",
	"\x11"
	"0 0 L-3,15W,LW * ?",
	"\x18"
	"30 2 * 3,JUL 5L,MON#1,7",
	"\x28"
	"0/15 1-30/2,5 22-23 1-5 */2",
	"\x70*/10 0-59/7 0,12 29 2 *",
	"\x0f"
	"H H(0-5) H/9 * H(MON-FRI)",
	"\x17"
	"h/15,H(30-39)/3 9-17 * * *",
	"\x80"
	"@daily",
	"\x88"
	"30 2 * * *",
	"\x02"
	"1w2d3h4m5s600ms",
	"\x02"
	"90s",
	"\x03"
	"2026-03-29T02:30:00.250+01:00",
	"\x03"
	"1970-01-01T00:00:60Z",
	"\x05"
	"<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
	"\x05"
	"EST5EDT4:30:15,J60/167,365/-167:59:59",
	"\x06"
	"America/Argentina/Buenos_Aires",
	"\x06"
	"Etc/GMT+5",
};

/* What mutations put in: the letters of the grammars and what breaks parsers. */
static const uint8_t letters[] = "0123456789*/-,?LW#H@ \t:.+<>JMTZadehmsuy\0\n\xff\x80";

static struct input input_of(const char *text)
{
	struct input input = {.len = strlen(text)};

	memcpy(input.bytes, text, input.len);
	return input;
}

/* Two changes of offset, a footer: as small as a sound zone file gets. */
static struct input zone_file_input(void)
{
	static const uint8_t v2[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
				    "\0\0\0\0\0\0\1\0\0\0\4";
	static const uint8_t v2_two[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
					"\0\0\0\0\2\0\0\0\2\0\0\0\4";
	static const uint8_t data[] = "\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\1\0\0\0\0\0\0\0\0\0\x0e\x10"
				      "\1\0AAA\0\nAAA0BBB,M3.2.0,M11.1.0\n";
	struct input input = {.bytes = {4}, .len = 1};

	memcpy(input.bytes + input.len, v2, 44);
	input.len += 44;
	memcpy(input.bytes + input.len, "\0\0\0\0\0\0AAA", 10);
	input.len += 10;
	memcpy(input.bytes + input.len, v2_two, 44);
	input.len += 44;
	memcpy(input.bytes + input.len, data, sizeof(data) - 1);
	input.len += sizeof(data) - 1;
	return input;
}

/* libFuzzer hands over exact allocations, in which ASan sees each step too far; so do we. */
static void run(const struct input *input)
{
	auto_free uint8_t *exact = xmalloc(input->len + !input->len);

	memcpy(exact, input->bytes, input->len);
	(void)LLVMFuzzerTestOneInput(exact, input->len);
}

static void mutate(struct input *input, struct seed *seed)
{
	size_t at = seed_below(seed, input->len + 1), count = 1 + seed_below(seed, 4);
	uint8_t letter = letters[seed_below(seed, sizeof(letters) - 1)];

	switch (seed_below(seed, 5)) {
	case 0: /* change */
		if (at < input->len)
			input->bytes[at] = letter;
		break;
	case 1: /* insert */
		if (input->len == INPUT_MAX)
			break;
		memmove(input->bytes + at + 1, input->bytes + at, input->len++ - at);
		input->bytes[at] = letter;
		break;
	case 2: /* drop */
		count = count < input->len - at ? count : input->len - at;
		memmove(input->bytes + at, input->bytes + at + count, input->len - at - count);
		input->len -= count;
		break;
	case 3: /* flip a bit */
		if (at < input->len)
			input->bytes[at] ^= (uint8_t)(1 << seed_below(seed, 8));
		break;
	default: /* repeat what stands there */
		count = count < input->len - at ? count : input->len - at;
		if (input->len + count > INPUT_MAX)
			break;
		memmove(input->bytes + at + count, input->bytes + at, input->len - at);
		input->len += count;
	}
}

static void test_mutated_inputs_are_taken_or_refused_in_order(void **state)
{
	struct seed seed = seed_start("test_fuzz_plan");
	struct input zone_file = zone_file_input();
	struct zone zone = {0};
	struct err err = {0};

	/* The seed itself must be sound, or its mutations would try nothing but the first check. */
	if (zone_file_parse(zone_file.bytes + 1, zone_file.len - 1, &zone, &err) != ERR_NONE)
		fail_msg("%s", err.text);
	free(zone.changes);
	for (int round = 0; round < ROUNDS; round++) {
		size_t pick = seed_below(&seed, COUNT_OF(texts) + 3);
		struct input input = pick < COUNT_OF(texts) ? input_of(texts[pick]) : zone_file;
		size_t changes = seed_below(&seed, 6);

		for (size_t i = 0; i < changes; i++)
			mutate(&input, &seed);
		run(&input);
	}
}

static void test_nothing_and_one_byte_are_harmless(void **state)
{
	for (int byte = -1; byte < 256; byte++) {
		struct input input = {.bytes = {(uint8_t)byte}, .len = byte >= 0};

		run(&input);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mutated_inputs_are_taken_or_refused_in_order),
		cmocka_unit_test(test_nothing_and_one_byte_are_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
