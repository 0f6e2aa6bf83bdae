/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses an http action must not call: server-side request forgery begins with a host name of
 * the attacker's that resolves to 169.254.169.254 or 10.0.0.1. Judged is the address of each
 * connection as it is opened, so neither a name that changes its answer nor a redirect gets round
 * it.
 *
 * An IPv6 address that carries an IPv4 one (mapped, compatible, NAT64, 6to4) is judged as that one.
 * Sources: the IANA special-purpose address registries (RFC 6890), RFC 6598, RFC 6052, RFC 8215,
 * and the clouds' documents for the metadata services outside 169.254.0.0/16. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "exec_priv.h"

enum verdict {
	VERDICT_FINE,
	VERDICT_PRIVATE,
	VERDICT_NEVER
};

struct range {
	uint8_t bytes[16];
	int bits;
	enum verdict verdict;
	const char *what;
};

/* The first range that holds the address decides. */
static const struct range ranges4[] = {
	{{0}, 8, VERDICT_NEVER, "an unspecified address"},
	{{10}, 8, VERDICT_PRIVATE, "a private address"},
	{{100, 100, 100, 200}, 32, VERDICT_NEVER, "a metadata address"},
	{{100, 64}, 10, VERDICT_PRIVATE, "a carrier-grade NAT address"},
	{{127}, 8, VERDICT_FINE, "a loopback address"},
	{{169, 254}, 16, VERDICT_NEVER, "a link-local address"},
	{{172, 16}, 12, VERDICT_PRIVATE, "a private address"},
	{{192, 0, 0}, 24, VERDICT_NEVER, "a protocol assignment address"},
	{{192, 168}, 16, VERDICT_PRIVATE, "a private address"},
	{{198, 18}, 15, VERDICT_PRIVATE, "a benchmarking address"},
	{{224}, 4, VERDICT_NEVER, "a multicast address"},
	{{255, 255, 255, 255}, 32, VERDICT_NEVER, "the broadcast address"},
	{{240}, 4, VERDICT_NEVER, "a reserved address"},
};

static const struct range ranges6[] = {
	{{[15] = 1}, 128, VERDICT_FINE, "the loopback address"},
	{{0}, 128, VERDICT_NEVER, "the unspecified address"},
	{{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48, VERDICT_PRIVATE, "a local NAT64 address"},
	{{0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54}, 128, VERDICT_NEVER,
		"a metadata address"},
	{{0xfd, 0x20, 0x00, 0xce, [14] = 0x02, [15] = 0x54}, 128, VERDICT_NEVER,
		"a metadata address"},
	{{0xfc}, 7, VERDICT_PRIVATE, "a unique local address"},
	{{0xfe, 0x80}, 10, VERDICT_NEVER, "a link-local address"},
	{{0xfe, 0xc0}, 10, VERDICT_PRIVATE, "a site-local address"},
	{{0xff}, 8, VERDICT_NEVER, "a multicast address"},
};

/* IPv6 prefixes behind which an IPv4 address stands, and where. Looked at after ranges6. */
static const struct {
	uint8_t bytes[16];
	int bits;
	int offset;
} carriers[] = {
	{{[10] = 0xff, [11] = 0xff}, 96, 12}, /* ::ffff:0:0/96, mapped */
	{{[8] = 0xff, [9] = 0xff}, 96, 12},   /* ::ffff:0:0:0/96, translated (SIIT) */
	{{0}, 96, 12},                        /* ::/96, compatible */
	{{0x00, 0x64, 0xff, 0x9b}, 96, 12},   /* 64:ff9b::/96, NAT64 */
	{{0x20, 0x02}, 16, 2},                /* 2002::/16, 6to4 */
};

static bool has_prefix(const uint8_t *address, const uint8_t *prefix, int bits)
{
	int whole = bits / 8;
	int mask = 0xFF << (8 - bits % 8) & 0xFF;

	if (memcmp(address, prefix, (size_t)whole) != 0)
		return false;
	return bits % 8 == 0 || ((address[whole] ^ prefix[whole]) & mask) == 0;
}

static const struct range *find(const struct range *ranges, size_t count, const uint8_t *address)
{
	for (size_t i = 0; i < count; i++) {
		if (has_prefix(address, ranges[i].bytes, ranges[i].bits))
			return &ranges[i];
	}
	return NULL;
}

static const struct range *find6(const uint8_t *address)
{
	const struct range *range = find(ranges6, COUNT_OF(ranges6), address);

	for (size_t i = 0; range == NULL && i < COUNT_OF(carriers); i++) {
		if (has_prefix(address, carriers[i].bytes, carriers[i].bits))
			return find(ranges4, COUNT_OF(ranges4), address + carriers[i].offset);
	}
	return range;
}

const char *address_refusal(const struct sockaddr *address, enum private_targets targets)
{
	const struct range *range;

	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;

		range = find(ranges4, COUNT_OF(ranges4), (const uint8_t *)&v4->sin_addr);
	} else if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;

		range = find6(v6->sin6_addr.s6_addr);
	} else {
		return "not an internet address";
	}
	if (range == NULL || range->verdict == VERDICT_FINE)
		return NULL;
	if (range->verdict == VERDICT_PRIVATE && targets == PRIVATE_TARGETS_ALLOWED)
		return NULL;
	return range->what;
}

const char *address_format(const struct sockaddr *address, char ret_text[static ADDRESS_TEXT_SIZE])
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;

		(void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		(void)snprintf(ret_text, ADDRESS_TEXT_SIZE, "[%s]:%u", host,
			(unsigned)ntohs(v6->sin6_port));
	} else {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;

		(void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		(void)snprintf(
			ret_text, ADDRESS_TEXT_SIZE, "%s:%u", host, (unsigned)ntohs(v4->sin_port));
	}
	return ret_text;
}
