/* SPDX-License-Identifier: Apache-2.0
 *
 * The address filter of http actions, as a table; boundaries on both sides of each range. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/exec_priv.h"

enum expected {
	FINE,
	PRIVATE,
	NEVER
};

static const struct {
	const char *address;
	enum expected expected;
} rows[] = {
	/* unspecified, "this network" */
	{"0.0.0.0", NEVER},
	{"0.255.255.255", NEVER},
	{"1.0.0.0", FINE},
	/* RFC 1918 */
	{"9.255.255.255", FINE},
	{"10.0.0.0", PRIVATE},
	{"10.255.255.255", PRIVATE},
	{"11.0.0.0", FINE},
	{"172.15.255.255", FINE},
	{"172.16.0.0", PRIVATE},
	{"172.31.255.255", PRIVATE},
	{"172.32.0.0", FINE},
	{"192.167.255.255", FINE},
	{"192.168.0.0", PRIVATE},
	{"192.168.255.255", PRIVATE},
	{"192.169.0.0", FINE},
	/* carrier-grade NAT, and the metadata service within it */
	{"100.63.255.255", FINE},
	{"100.64.0.0", PRIVATE},
	{"100.127.255.255", PRIVATE},
	{"100.128.0.0", FINE},
	{"100.100.100.199", PRIVATE},
	{"100.100.100.200", NEVER},
	{"100.100.100.201", PRIVATE},
	/* loopback */
	{"126.255.255.255", FINE},
	{"127.0.0.1", FINE},
	{"127.255.255.255", FINE},
	{"128.0.0.0", FINE},
	/* link-local and metadata */
	{"169.253.255.255", FINE},
	{"169.254.0.0", NEVER},
	{"169.254.169.254", NEVER},
	{"169.254.255.255", NEVER},
	{"169.255.0.0", FINE},
	{"191.255.255.255", FINE},
	{"192.0.0.0", NEVER},
	{"192.0.0.192", NEVER},
	{"192.0.1.0", FINE},
	{"198.17.255.255", FINE},
	{"198.18.0.0", PRIVATE},
	{"198.19.255.255", PRIVATE},
	{"198.20.0.0", FINE},
	/* multicast, reserved, broadcast */
	{"223.255.255.255", FINE},
	{"224.0.0.0", NEVER},
	{"239.255.255.255", NEVER},
	{"240.0.0.0", NEVER},
	{"255.255.255.255", NEVER},
	{"8.8.8.8", FINE},
	/* IPv6 */
	{"::", NEVER},
	{"::1", FINE},
	{"::2", NEVER}, /* as 0.0.0.2 */
	{"2606:4700::1111", FINE},
	{"fbff::1", FINE},
	{"fc00::", PRIVATE},
	{"fdff:ffff::1", PRIVATE},
	{"fe00::1", FINE},
	{"fd00:ec2::254", NEVER},
	{"fd00:ec2::253", PRIVATE},
	{"fd20:ce::254", NEVER},
	{"fe7f::1", FINE},
	{"fe80::1", NEVER},
	{"febf::1", NEVER},
	{"fec0::1", PRIVATE},
	{"feff::1", PRIVATE},
	{"ff00::1", NEVER},
	{"ff02::1", NEVER},
	/* IPv4 inside IPv6: mapped, translated, compatible, NAT64, local NAT64, 6to4 */
	{"::ffff:127.0.0.1", FINE},
	{"::ffff:8.8.8.8", FINE},
	{"::ffff:10.0.0.1", PRIVATE},
	{"::ffff:169.254.169.254", NEVER},
	{"::ffff:0.0.0.0", NEVER},
	{"::ffff:0:192.168.1.1", PRIVATE},
	{"::ffff:0:169.254.169.254", NEVER},
	{"::10.0.0.1", PRIVATE},
	{"::169.254.169.254", NEVER},
	{"64:ff9b::8.8.8.8", FINE},
	{"64:ff9b::10.0.0.1", PRIVATE},
	{"64:ff9b::169.254.169.254", NEVER},
	{"64:ff9b::100.100.100.200", NEVER},
	{"64:ff9b:1::8.8.8.8", PRIVATE},
	{"64:ff9b:1:ffff::1", PRIVATE},
	{"64:ff9b:2::1", FINE},
	{"2002:808:808::1", FINE},
	{"2002:a00:1::1", PRIVATE},
	{"2002:a9fe:a9fe::1", NEVER},
};

static void read_address(const char *text, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;

	*ret_address = (struct sockaddr_storage){0};
	if (strchr(text, ':') != NULL) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(443);
		assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
	} else {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(80);
		assert_int_equal(inet_pton(AF_INET, text, &v4->sin_addr), 1);
	}
}

static void test_each_range_and_its_neighbours(void **state)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sockaddr_storage storage;
		const struct sockaddr *address = (struct sockaddr *)&storage;
		bool is_refused, is_never;

		read_address(rows[i].address, &storage);
		is_refused = address_refusal(address, PRIVATE_TARGETS_REFUSED) != NULL;
		is_never = address_refusal(address, PRIVATE_TARGETS_ALLOWED) != NULL;
		if (is_refused != (rows[i].expected != FINE) ||
			is_never != (rows[i].expected == NEVER))
			fail_msg("%s: refused %d, even with allow_private_targets %d",
				rows[i].address, is_refused, is_never);
	}
}

static void test_the_refusal_names_the_kind_of_address(void **state)
{
	struct sockaddr_storage storage;

	read_address("169.254.169.254", &storage);
	assert_string_equal(address_refusal((struct sockaddr *)&storage, PRIVATE_TARGETS_ALLOWED),
		"a link-local address");
	read_address("fd12::1", &storage);
	assert_string_equal(address_refusal((struct sockaddr *)&storage, PRIVATE_TARGETS_REFUSED),
		"a unique local address");
}

static void test_other_families_are_refused(void **state)
{
	struct sockaddr address = {.sa_family = AF_UNIX};

	assert_non_null(address_refusal(&address, PRIVATE_TARGETS_ALLOWED));
}

static void test_addresses_are_written_as_people_write_them(void **state)
{
	struct sockaddr_storage storage;
	char text[ADDRESS_TEXT_SIZE];

	read_address("10.1.2.3", &storage);
	assert_string_equal(address_format((struct sockaddr *)&storage, text), "10.1.2.3:80");
	read_address("fe80::1", &storage);
	assert_string_equal(address_format((struct sockaddr *)&storage, text), "[fe80::1]:443");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_range_and_its_neighbours),
		cmocka_unit_test(test_the_refusal_names_the_kind_of_address),
		cmocka_unit_test(test_other_families_are_refused),
		cmocka_unit_test(test_addresses_are_written_as_people_write_them),
	};

	return cmocka_run_group_tests_name("exec_address", tests, NULL, NULL);
}
