"""What schemathesis does before each request to the admin API: names things that are there, and comes from another address.

Its own process loads this; what is there it reads from WARREN_FUZZED.
"""

import itertools
import json
import os

import schemathesis

# By method, place and name; "*" is any method.
THERE = json.loads(os.environ["WARREN_FUZZED"])
turn = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    request = next(turn)
    # As from a proxy that asks for many people: one caller may ask twenty times a second, and is then told to wait.
    case.headers["X-Forwarded-For"] = f"10.0.0.{request % 250 + 1}"
    if request % 4 == 0:
        return
    for place, values in (("path", case.path_parameters), ("query", case.query)):
        for name in values:
            # What others still need is deleted only by whoever guesses its name.
            if (place, name, case.method) != ("path", "key", "DELETE"):
                values[name] = THERE.get(f"{place} {name}", values[name])
