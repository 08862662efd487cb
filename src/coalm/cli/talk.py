"""The conversation at the keyboard that `coalm chat` and `coalm infer -i` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import typer

from coalm.agent.react import (
    LIMITS,
    Limits,
    StopReason,
    end_turn,
    is_open,
    stop_reason,
    user_turn,
)
from coalm.agent.rollout import run_one
from coalm.agent.session import list_sessions, load_session, save_session
from coalm.cli.plain_text import one_line
from coalm.cli.screen import Screen
from coalm.config import load_config
from coalm.engines import load_engine
from coalm.engines.base import Engine, SamplingParams
from coalm.engines.config import InferConfig
from coalm.errors import CoalmError, ConfigError, DataError
from coalm.formats import PromptFormat, get_format
from coalm.tools import Toolbox
from coalm.types import Conversation, Message

_HELP = """\
/help         this list
/tools        the tools that the model can call
/save [FILE]  save the conversation, here and after every further message
/load [FILE]  go on with a saved conversation; without FILE: list those beside the open one
/reset        forget the conversation
/quit         leave (also Ctrl-D)
Ctrl-C while the model writes takes you back here; what was said is kept."""


@dataclass
class Talk:
    """A chat under way: what is needed to answer, and the conversation so far."""

    screen: Screen
    engine: Engine
    prompt_format: PromptFormat
    toolbox: Toolbox
    params: SamplingParams
    limits: Limits
    conversation: Conversation
    path: Path | None = None
    """Session file, written after every message; None keeps the conversation in memory only."""

    def run(self) -> None:
        """Read and answer until the user leaves.

        Raises:
            CoalmError: an answer failed and nobody is at the keyboard to go on.
            KeyboardInterrupt: the same, on Ctrl-C.
        """
        if is_open(self.conversation):
            self.screen.note("(going on where the saved turn was cut off)")
            self._answer()
        while (line := self._read()) is not None:
            if not line.startswith("/"):
                self._keep(self.conversation.extended(Message(role="user", content=line)))
                self._answer()
            elif not self._command(*line.split(maxsplit=1)):
                return

    def _read(self) -> str | None:
        """The next line that is not blank; None when the input ends."""
        while True:
            try:
                line = self.screen.read("You: ")
            except KeyboardInterrupt:
                if not self.screen.interactive:
                    raise
                self.screen.note("\n(/quit or Ctrl-D leaves)")
                continue
            if line is None or line.strip():
                return line and line.strip()

    def _answer(self) -> None:
        rollout = user_turn(
            self.conversation, self.prompt_format, self.toolbox, self.limits, self._added
        )
        try:
            with self.screen.waiting():
                self._keep(run_one(rollout, self.engine, self.params))
        except KeyboardInterrupt:
            self._give_up("interrupted")
            if not self.screen.interactive:
                raise
        except CoalmError as error:
            self._give_up("error")
            self._tell(error)
        if reason := stop_reason(self.conversation):
            self.screen.note(f"(turn ended without a reply: {reason.replace('_', ' ')})")

    def _added(self, conversation: Conversation) -> None:
        self._keep(conversation)
        self.screen.message(conversation.messages[-1])

    def _keep(self, conversation: Conversation) -> None:
        self.conversation = conversation
        if self.path:
            try:
                save_session(self.path, conversation)
            except DataError as error:
                self._tell(error)

    def _tell(self, error: CoalmError) -> None:
        """Show an error to who sits at the keyboard; with nobody there, it ends the chat."""
        if not self.screen.interactive:
            raise error
        self.screen.problem(str(error))

    def _give_up(self, reason: StopReason) -> None:
        self._keep(end_turn(self.conversation, reason))

    def _command(self, name: str, argument: str = "") -> bool:
        """Carry out a command; False when the user wants to leave."""
        actions: dict[str, Callable[[], None]] = {
            "/help": lambda: self.screen.note(_HELP),
            "/tools": self._show_tools,
            "/save": lambda: self._save(argument),
            "/load": lambda: self._load(argument) if argument else self._list(),
            "/reset": self._reset,
        }
        if name == "/quit":
            return False
        try:
            if name not in actions:
                raise CoalmError(f"there is no command {name}; /help lists them")
            actions[name]()
        except CoalmError as error:
            self._tell(error)
        return True

    def _show_tools(self) -> None:
        lines = [
            f"{tool.name}({', '.join(tool.properties)}): {tool.description}"
            for tool in self.toolbox.schemas
        ]
        self.screen.note("\n".join(lines) or "no tools")

    def _save(self, argument: str) -> None:
        path = Path(argument) if argument else self.path
        if path is None:
            raise CoalmError("no session file yet; write /save FILE")
        save_session(path, self.conversation)
        self.path = path
        self.screen.note(f"saved: {path}")

    def _load(self, argument: str) -> None:
        path = Path(argument)
        self.conversation = load_session(path).model_copy(update={"tools": self.toolbox.schemas})
        self.path = path
        self.show()
        if is_open(self.conversation):
            self._answer()

    def _list(self) -> None:
        folder = self.path.parent if self.path else Path()
        lines = [f"{s.path}  {s.messages} messages  {s.opening}" for s in list_sessions(folder)]
        self.screen.note("\n".join(lines) or f"no sessions in {folder}")

    def _reset(self) -> None:
        system = tuple(m for m in self.conversation.messages if m.role == "system")
        self.conversation = Conversation(
            id=self.conversation.id, messages=system, tools=self.toolbox.schemas
        )
        kept = f"; {self.path} keeps the old one" if self.path else ""
        self.path = None
        self.screen.note(f"(new conversation, not saved{kept}; what tools have done stays done)")

    def show(self) -> None:
        """Print everything that was said so far."""
        for message in self.conversation.messages:
            self.screen.message(message)


class Opening(NamedTuple):
    """How a talk begins."""

    prompt_format: str
    prompts: Path | None = None
    """Instruction text in place of the format's own."""
    system: str | None = None
    """First message of a new conversation."""
    session: Path | None = None
    """Session file; the conversation goes on if it is there."""
    max_steps: int = LIMITS.max_steps


def load_infer_config(path: Path | None, overrides: list[str], trust: bool) -> InferConfig:
    """The inference configuration; its warnings go to stderr.

    Raises:
        ConfigError: there is no model, or the file or an override cannot be used.
    """
    if path is None and not any("model_name" in word for word in overrides):
        raise ConfigError("no model; give --model PATH, or an inference file with -c FILE")
    loaded = load_config(InferConfig, path, overrides, trust_remote_code=trust)
    for warning in loaded.warnings:
        typer.echo(f"coalm: warning: {one_line(warning)}", err=True)
    return loaded.config


def start_talk(screen: Screen, config: InferConfig, toolbox: Toolbox, opening: Opening) -> None:
    """Load everything, then talk until the user leaves.

    Raises:
        CoalmError: a file or the model cannot be used, or an answer failed with nobody there.
    """
    prompt_format = get_format(opening.prompt_format, opening.prompts)
    conversation = _open_conversation(opening, toolbox)
    sampling = config.generation.sampling()
    stop = (*prompt_format.stop, *sampling.stop)
    with screen.waiting():
        engine = load_engine(config)
    try:
        talk = Talk(
            screen=screen,
            engine=engine,
            prompt_format=prompt_format,
            toolbox=toolbox,
            params=sampling.model_copy(update={"stop": stop}),
            limits=Limits(max_steps=opening.max_steps),
            conversation=conversation,
            path=opening.session,
        )
        screen.note(f"{config.model.model_name}, {len(toolbox.schemas)} tools; /help for commands")
        talk.show()
        talk.run()
    finally:
        engine.close()


def _open_conversation(opening: Opening, toolbox: Toolbox) -> Conversation:
    if opening.session and opening.session.exists():
        saved = load_session(opening.session)
        return saved.model_copy(update={"tools": toolbox.schemas})
    name = opening.session.stem if opening.session else "chat"
    system = (Message(role="system", content=opening.system),) if opening.system else ()
    return Conversation(id=name, messages=system, tools=toolbox.schemas)
