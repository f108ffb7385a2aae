#!/usr/bin/env python3
"""hibari_wyoming.py URI: hibari-tts as a Wyoming program (tcp://HOST:PORT, unix://PATH, stdio://).

An engine of prosa voice in thirty lines: --speak "stdio:python3 hibari_wyoming.py stdio://". Needs: pip install
hibari-tts wyoming.
"""

import asyncio
import sys

import hibari
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.server import AsyncEventHandler, AsyncServer
from wyoming.tts import Synthesize

RATE = 24000
ABOUT = {"name": "hibari", "attribution": Attribution("hibari-tts", "https://pypi.org/project/hibari-tts"),
         "installed": True, "description": "A small neural voice", "version": None}


class Handler(AsyncEventHandler):
    voice = hibari.Hibari()

    async def handle_event(self, event: Event) -> bool:
        if Describe.is_type(event.type):
            voices = [TtsVoice(**{**ABOUT, "name": "heart"}, languages=["en"])]
            await self.write_event(Info(tts=[TtsProgram(**ABOUT, voices=voices)]).event())
        elif Synthesize.is_type(event.type):
            await self.write_event(AudioStart(RATE, 2, 1).event())
            for sound in self.voice.stream(Synthesize.from_event(event).text):  # a sentence at a time
                samples = (sound.clip(-1, 1) * 32767).astype("<i2").tobytes()
                await self.write_event(AudioChunk(RATE, 2, 1, samples).event())
            await self.write_event(AudioStop().event())
        return True


asyncio.run(AsyncServer.from_uri(sys.argv[1]).run(Handler))
