/* SPDX-License-Identifier: Apache-2.0
 *
 * May an http action call there, in this server's configuration? Asked for each connection, and, as
 * far as the URL itself tells, before an action is stored. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "exec_priv.h"

const char *webhook_refusal(
	const struct exec *exec, const struct sockaddr *address, const char **ret_advice)
{
	const char *always = address_refusal(address, PRIVATE_TARGETS_ALLOWED);

	*ret_advice = "";
	if (always != NULL || exec->opts.allow_private_targets)
		return always;
	*ret_advice = "; set allow_private_targets = true to allow it";
	return address_refusal(address, PRIVATE_TARGETS_REFUSED);
}

/* Only what the URL itself says can be judged now: a name may resolve to anything by the time it is
 * due. curl_url turns "0x7f.1" and "2130706433" into the address they mean. */
static bool literal_address(const char *host, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
	char bare[INET6_ADDRSTRLEN];
	size_t len = strlen(host);

	*ret_address = (struct sockaddr_storage){.ss_family = AF_INET};
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1)
		return true;
	if (len < 2 || len - 2 >= sizeof(bare) || host[0] != '[')
		return false;
	(void)snprintf(bare, sizeof(bare), "%.*s", (int)len - 2, host + 1);
	ret_address->ss_family = AF_INET6;
	return inet_pton(AF_INET6, bare, &v6->sin6_addr) == 1;
}

int webhook_check_ca_file(const char *path, struct err *err)
{
	if (path == NULL || path[0] == '\0' || access(path, R_OK) == 0)
		return 0;
	return err_set(err, ERR_INVALID, "http_ca_file: cannot read %s: %s", path, strerror(errno));
}

int webhook_check(const struct exec *exec, const struct action *action, struct err *err)
{
	CURLU *url = curl_url();
	char *host = NULL;
	struct sockaddr_storage address;
	const char *why = NULL;
	const char *advice;
	int code = 0;

	if (curl_url_set(url, CURLUPART_URL, action->http.url, 0) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		literal_address(host, &address))
		why = webhook_refusal(exec, (struct sockaddr *)&address, &advice);
	if (why != NULL)
		code = err_field(err, ERR_FORBIDDEN, "/http/url", "%s is %s and is not called%s",
			host, why, advice);
	curl_free(host);
	curl_url_cleanup(url);
	return code;
}
