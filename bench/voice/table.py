#!/usr/bin/env python3
"""table.py SENTENCES TIMELINE: what each spoken turn took, as a table, and the medians under it.

SENTENCES: what was said, a line for each recording. TIMELINE: what `prosa voice --timeline` wrote. A recording that was
taken as several turns is several lines of the table; what was understood of it is all of their words. Exit code 1: a
recording got no answer.
"""

import json
import re
import statistics
import sys


def words(text):
    """Lower case, without punctuation: what word error rates are counted on."""
    return re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))


def errors(said, heard):
    """Words to be replaced, left out or put in (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def number(value):
    return "" if value is None else f"{value:.0f}"


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def share(part, whole):
    return f"{100 * part / whole:.0f} %" if whole else "none"


def main():
    sentences = [line.strip() for line in open(sys.argv[1], encoding="utf-8") if line.strip()]
    timeline = json.load(open(sys.argv[2], encoding="utf-8"))
    recordings, turns = timeline["recordings"], timeline["turns"]
    if len(recordings) != len(sentences):
        sys.exit(f"table.py: {len(sentences)} sentences, but {len(recordings)} recordings")
    print("| | heard | wrong words | sentence after, ms | sound after, ms | draft held | tokens: useful, lost | reply |")
    print("|---|---|---|---|---|---|---|---|")
    wrong = said = unanswered = 0
    for index, (sentence, recording) in enumerate(zip(sentences, recordings)):
        until = recordings[index + 1]["begin_ms"] if index + 1 < len(recordings) else float("inf")
        own = [turn for turn in turns if recording["begin_ms"] <= turn["end_of_speech_ms"] < until]
        missed = errors(words(sentence), words(" ".join(turn["user"] for turn in own)))
        wrong += missed
        said += len(words(sentence))
        unanswered += not any(turn["reply"].strip() for turn in own)
        for part, turn in enumerate(own):
            tokens = f"{turn['useful_tokens']}, {turn['lost_tokens']}"
            kept = ("yes, heard early" if turn["soft"] else "yes") if turn["draft_held"] else "no"
            reply = turn["reply"].strip().replace("|", "\\|").replace("\n", " ")
            reply = reply if len(reply) <= 60 else reply[:59] + "…"
            print(f"| {index + 1 if part == 0 else ''} | {turn['user']} | {missed if part == 0 else ''} "
                  f"| {number(turn['to_first_sentence_ms'])} | {number(turn['to_first_audio_ms'])} "
                  f"| {kept} | {tokens} | {reply} |")
        if not own:
            print(f"| {index + 1} | (nothing) | {missed} | | | | | |")
    held = [turn for turn in turns if turn["draft_held"]]
    soft = [turn for turn in turns if turn["soft"]]
    waits = {kept: median([max(0, turn["to_first_sentence_ms"] - turn["to_commit_ms"]) for turn in turns
                           if turn["draft_held"] == kept and turn["to_first_sentence_ms"] is not None])
             for kept in (True, False)}
    audio = sorted(turn["to_first_audio_ms"] for turn in turns if turn["to_first_audio_ms"] is not None)
    useful = sum(turn["useful_tokens"] for turn in turns)
    lost = sum(turn["lost_tokens"] for turn in turns)
    ninth = audio[min(len(audio) - 1, len(audio) * 9 // 10)] if audio else None
    print()
    print(f"- {len(sentences)} sentences, {len(turns)} turns, {unanswered} without an answer; "
          f"wrong words {share(wrong, said)} ({wrong} of {said})")
    print(f"- end of speech to first sound: median {number(median(audio))} ms, nine of ten within {number(ninth)} ms; "
          f"to the turn's end: median {number(median([turn['to_commit_ms'] for turn in turns]))} ms")
    print(f"- the turn's end to the first sentence: median {number(waits[True]) or '-'} ms where the draft held, "
          f"{number(waits[False]) or '-'} ms elsewhere")
    print(f"- drafts that held: {len(held)} of {len(turns)}, of which {len(soft)} were heard before the turn's end; tokens "
          f"computed early for nothing: {lost}, beside {useful} of use ({share(lost, useful)})")
    sys.exit(1 if unanswered else 0)


main()
