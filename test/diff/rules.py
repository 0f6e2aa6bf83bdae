# SPDX-License-Identifier: Apache-2.0
"""Random recurrence rules for test/diff/run, of the kinds on which the libraries agree with RFC 5545; what they do
otherwise is left out here and told in doc/schedules.md."""
import datetime

DAYS = "MO TU WE TH FR SA SU".split()
SHIFTING_ZONES = ["Europe/Paris", "America/New_York", "Europe/Riga"]


def some(dice, low, high, most=3):
    return sorted(dice.sample(range(low, high + 1), dice.randint(1, min(most, high - low + 1))))


def either_end(dice, numbers):
    return [-n if dice.random() < 0.3 else n for n in numbers]


def text(numbers):
    return ",".join(str(n) for n in numbers)


def weekdays(dice, ordinal_max):
    """Either all with a number or none: dateutil and rrule take a mixture as "both must hold"."""
    named = dice.sample(DAYS, dice.randint(1, 4))
    if ordinal_max and dice.random() < 0.6:
        return ",".join(f"{dice.choice([1, -1]) * dice.randint(1, ordinal_max)}{day}" for day in named)
    return ",".join(named)


def date_parts(dice, freq):
    parts = {}
    chance = dice.random
    if chance() < 0.35:
        parts["BYMONTH"] = text(some(dice, 1, 12, 5))
    if freq == "YEARLY" and chance() < 0.2:
        # never alone: dateutil and rrule then take the whole week instead of the start's weekday; and week -52, in
        # December the first of the next year, is unknown to them there
        parts["BYWEEKNO"] = text(n if n <= 40 else 40 - n for n in some(dice, 1, 80, 4))
        parts["BYDAY"] = weekdays(dice, 0)
        return parts
    if freq in ("YEARLY", "HOURLY", "MINUTELY", "SECONDLY") and chance() < 0.2:
        parts["BYYEARDAY"] = text(either_end(dice, some(dice, 1, 366, 8)))
    if freq != "WEEKLY" and chance() < 0.35:
        parts["BYMONTHDAY"] = text(either_end(dice, some(dice, 1, 31, 5)))
    if chance() < 0.4:
        ordinals = {"MONTHLY": 5, "YEARLY": 5 if "BYMONTH" in parts else 53}.get(freq, 0)
        parts["BYDAY"] = weekdays(dice, ordinals)
    return parts


def rule_text(dice, freq, hours):
    parts = {"FREQ": freq}
    if dice.random() < 0.5:
        parts["INTERVAL"] = str(dice.randint(1, {"YEARLY": 4, "MONTHLY": 18, "WEEKLY": 9}.get(freq, 40)))
    parts |= date_parts(dice, freq)
    clock = freq in ("HOURLY", "MINUTELY", "SECONDLY")
    if hours and (dice.random() < 0.5 or freq == "HOURLY"):
        if freq != "HOURLY":
            parts["BYHOUR"] = text(some(dice, *hours))
        if freq != "MINUTELY" and dice.random() < 0.6:
            parts["BYMINUTE"] = text(some(dice, 0, 59))
    if not clock and dice.random() < 0.25 and len(parts) > 2:
        if freq != "WEEKLY" and set(parts) - {"FREQ", "INTERVAL"}:
            # dateutil and rrule let the first week begin with the start
            parts["BYSETPOS"] = text(either_end(dice, some(dice, 1, 12, 2)))
    if dice.random() < 0.3:
        parts["WKST"] = dice.choice(DAYS)
    if dice.random() < 0.15:
        parts["COUNT"] = str(dice.randint(1, 12))
    keys = list(parts)[1:]
    dice.shuffle(keys)
    return ";".join(["FREQ=" + freq] + [f"{key}={parts[key]}" for key in keys])


def moments(dice, hours):
    """A start, and a moment from which to ask: mostly somewhat later."""
    hour = dice.randint(*hours)
    start = datetime.datetime(dice.randint(2020, 2030), dice.randint(1, 12), dice.randint(1, 28), hour,
                              dice.randint(0, 59), 0, tzinfo=datetime.timezone.utc)
    later = dice.choice([-1, 0, dice.randint(0, 3 * 86400), dice.randint(0, 600 * 86400)])
    return start, int(start.timestamp()) + later


def calendar(dice):
    start, from_s = moments(dice, (0, 23))
    freq = dice.choice(["YEARLY", "MONTHLY", "MONTHLY", "WEEKLY", "DAILY"])
    return rule_text(dice, freq, (0, 23)), "UTC", from_s, start.strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(dice):
    start, from_s = moments(dice, (0, 23))
    from_s = min(from_s, int(start.timestamp()) + 3 * 86400)
    freq = dice.choice(["HOURLY", "HOURLY", "MINUTELY"])
    return rule_text(dice, freq, (0, 23)), "UTC", from_s, start.strftime("%Y-%m-%dT%H:%M:%SZ")


def shift_elsewhere(dice):
    start, from_s = moments(dice, (11, 20))  # on every clock of these zones between 5 and 22
    freq = dice.choice(["YEARLY", "MONTHLY", "WEEKLY", "DAILY"])
    return rule_text(dice, freq, (5, 22)), dice.choice(SHIFTING_ZONES), from_s, start.strftime("%Y-%m-%dT%H:%M:%SZ")


def is_beyond(ours, theirs):
    """We take a rule that is not due for 400 years for over; they go on to the year 9999."""
    ours, theirs = ours.split(), theirs.split()
    then = theirs[len(ours):][:1]
    return (ours and ours == theirs[:len(ours)] and then and then[0].isdigit() and
            int(then[0]) - int(ours[-1]) > 400 * 365 * 86400)


def agrees(peer, line):
    """Leaves out what one library alone does otherwise; doc/schedules.md tells."""
    has = line.split("\t")[0].__contains__
    return not (peer == "rrule" and has("BYSETPOS") and (has("=-") or has(",-")))
