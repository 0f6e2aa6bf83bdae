/* SPDX-License-Identifier: Apache-2.0
 *
 * Every sentence of store.h, asked of the backend named by the first argument. */
#include "rig.h"

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc > 1)
		rig_backend = argv[1];
	failed += _cmocka_run_group_tests("life", life_tests, life_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests("actions", action_tests, action_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests("claim", claim_tests, claim_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests("take", take_tests, take_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests("finish", finish_tests, finish_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests("notes", note_tests, note_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests("runs", run_tests, run_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests("pace", pace_tests, pace_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests("events", event_tests, event_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests(
		"backfill", backfill_tests, backfill_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests("boot", boot_tests, boot_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests(
		"instances", instance_tests, instance_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests("secrets", secret_tests, secret_test_count, NULL, NULL);
	failed += _cmocka_run_group_tests("care", care_tests, care_test_count, NULL, NULL);
	return failed;
}
