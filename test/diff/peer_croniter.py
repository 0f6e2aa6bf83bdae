#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""croniter (Debian's python3-croniter), asked as next_bulk and peer.mjs are; with MILLIS it measures.

    peer_croniter.py [MILLIS]
"""
import datetime
import sys
import time
import zoneinfo

import croniter


def walker(expression, zone, start_s):
    fields = expression.split()
    if len(fields) == 6:  # croniter has the second behind the others
        expression = " ".join(fields[1:] + fields[:1])
    start = datetime.datetime.fromtimestamp(start_s, zoneinfo.ZoneInfo(zone))
    return croniter.croniter(expression, start)


def answer(expression, zone, start_s, count):
    try:
        found = walker(expression, zone, int(start_s))
        return " ".join(str(int(found.get_next(float))) for _ in range(int(count)))
    except (ValueError, KeyError, NameError) as error:
        return f"refused {error}".replace("\n", " ")


def measure(expression, zone, start_s, millis):
    found = walker(expression, zone, int(start_s))
    count, start = 0, time.process_time()
    while time.process_time() < start + millis / 1000:
        try:
            found.get_next(float)
        except ValueError:  # the year 10000
            found = walker(expression, zone, int(start_s))
        count += 1
    return str(count / (time.process_time() - start))


for line in sys.stdin:
    given = line.rstrip("\n").split("\t")
    print(measure(*given[:3], int(sys.argv[1])) if len(sys.argv) > 1 else answer(*given))
