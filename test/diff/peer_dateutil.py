#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Recurrence rules by Debian's python3-dateutil, asked as next_bulk is; with MILLIS it measures. It counts on the wall
clock, without gaps and overlaps.

    peer_dateutil.py [MILLIS]
"""
import datetime
import itertools
import sys
import time
import zoneinfo

import dateutil.rrule


def walk(rule, zone, from_s, start):
    zone = zoneinfo.ZoneInfo(zone)
    begin = datetime.datetime.fromisoformat(start.replace("Z", "+00:00")).astimezone(zone).replace(tzinfo=None)
    after = datetime.datetime.fromtimestamp(int(from_s), zone).replace(tzinfo=None)
    for found in dateutil.rrule.rrulestr(rule, dtstart=begin):
        if found > after:
            yield int(found.replace(tzinfo=zone).timestamp())


def answer(rule, zone, from_s, count, start):
    try:
        return " ".join(str(at) for at in itertools.islice(walk(rule, zone, from_s, start), int(count)))
    except ValueError as error:
        return f"refused {error}".replace("\n", " ")


def measure(rule, zone, from_s, start, millis):
    begin, count = time.process_time(), 0
    for _ in walk(rule, zone, from_s, start):
        count += 1
        if time.process_time() > begin + millis / 1000:
            break
    return str(count / (time.process_time() - begin))


for line in sys.stdin:
    text, where, since, wanted, first = line.rstrip("\n").split("\t")
    print(measure(text, where, since, first, int(sys.argv[1])) if len(sys.argv) > 1
          else answer(text, where, since, wanted, first))
