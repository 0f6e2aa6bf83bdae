/* SPDX-License-Identifier: Apache-2.0
 *
 * A short run of a fuzz target without libFuzzer, for every `make test`: the inputs of its corpus
 * and its regressions as they are, then mutations of them by the thousand from a printed seed.
 * ASan, UBSan and the must() of the target are the judges. Linked with one fuzz_<name>.c;
 * arguments: folders of inputs, the first of which must have some. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "seed.h"

#define ROUNDS     20000
#define CHANGES    6
#define INPUT_MAX  4096
#define INPUTS_MAX 200

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct input {
	uint8_t bytes[INPUT_MAX];
	size_t len;
};

static char **folders; /* of the command line, NULL at the end */
static struct input inputs[INPUTS_MAX];
static size_t input_count;

static void read_input(const char *folder, const char *name)
{
	auto_free char *path = xasprintf("%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	struct input *input = &inputs[input_count++];

	assert_non_null(file);
	assert_true(input_count < INPUTS_MAX);
	input->len = fread(input->bytes, 1, INPUT_MAX, file);
	assert_int_equal(ferror(file), 0);
	(void)fclose(file);
}

static void read_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			read_input(folder, entry->d_name);
	if (dir)
		(void)closedir(dir);
}

/* libFuzzer hands over exact allocations, in which ASan sees each step too far; so do we. */
static void run(const struct input *input)
{
	auto_free uint8_t *exact = xmalloc(input->len + !input->len);

	memcpy(exact, input->bytes, input->len);
	(void)LLVMFuzzerTestOneInput(exact, input->len);
}

/* Puts `count` bytes from `from` in at `at`, as far as there is room. */
static void insert(struct input *input, size_t at, const uint8_t *from, size_t count)
{
	uint8_t copy[INPUT_MAX];

	count = count < INPUT_MAX - input->len ? count : INPUT_MAX - input->len;
	memcpy(copy, from, count); /* it may be a part of the input itself */
	memmove(input->bytes + at + count, input->bytes + at, input->len - at);
	memcpy(input->bytes + at, copy, count);
	input->len += count;
}

static void drop(struct input *input, size_t at, size_t count)
{
	count = count < input->len - at ? count : input->len - at;
	memmove(input->bytes + at, input->bytes + at + count, input->len - at - count);
	input->len -= count;
}

/* One change; what is put in comes from any input, or is any byte. */
static void mutate(struct input *input, struct seed *seed)
{
	const struct input *other = &inputs[seed_below(seed, input_count)];
	size_t at = seed_below(seed, input->len + 1), from = seed_below(seed, other->len + 1);
	size_t count = 1 + seed_below(seed, seed_below(seed, 4) ? 4 : 200);
	uint8_t any = (uint8_t)seed_next(seed);

	count = count < other->len - from ? count : other->len - from;
	switch (seed_below(seed, 6)) {
	case 0:
		insert(input, at, &any, 1);
		break;
	case 1:
		drop(input, at, 1 + count);
		break;
	case 2:
		if (at < input->len)
			input->bytes[at] ^= (uint8_t)(1 << seed_below(seed, 8));
		break;
	case 3:
		drop(input, at, count);
		insert(input, at, other->bytes + from, count);
		break;
	case 4:
		count = count < input->len - at ? count : input->len - at;
		insert(input, at, input->bytes + at, count);
		break;
	default:
		insert(input, at, other->bytes + from, count);
	}
}

static void test_known_inputs(void **state)
{
	for (size_t i = 0; folders[i]; i++) {
		read_folder(folders[i]);
		assert_true(input_count > 0);
	}
	for (size_t i = 0; i < input_count; i++)
		run(&inputs[i]);
	run(&(struct input){.len = 0});
}

static void test_mutated_inputs(void **state)
{
	struct seed seed = seed_start("fuzz smoke");

	assert_true(input_count > 0);
	for (int round = 0; round < ROUNDS; round++) {
		struct input input = inputs[seed_below(&seed, input_count)];
		size_t changes = seed_below(&seed, CHANGES);

		for (size_t i = 0; i < changes; i++)
			mutate(&input, &seed);
		run(&input);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_inputs),
		cmocka_unit_test(test_mutated_inputs),
	};

	folders = argv + 1;
	return argc > 1 ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
