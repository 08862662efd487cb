"""The conversation at the keyboard that `coalm chat` and `coalm infer -i` share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import typer

from coalm.agent.react import LIMITS, Limits, is_open, stop_reason
from coalm.agent.replay import recorded_session, replay, show_changes
from coalm.agent.session import AgentSession, Answer, list_sessions, load_session, save_session
from coalm.cli.plain_text import one_line
from coalm.cli.screen import Screen
from coalm.config import load_config
from coalm.engines import load_engine
from coalm.engines.config import InferConfig
from coalm.engines.named import SHIPPED_MODEL, usual_tool_text
from coalm.errors import CoalmError, DataError
from coalm.formats import get_format
from coalm.formats.tool_text import TOOL_TEXT, ToolText, tool_text_meta
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


class Talk:
    """A chat under way: a session with a person at the keyboard, or a pipe."""

    def __init__(self, screen: Screen, session: AgentSession, path: Path | None = None) -> None:
        """Shows every message of `session` as it comes and saves it.

        Args:
            screen: Where the user reads and writes.
            session: Answers; its `path` and `watch` stay unused.
            path: Session file, written after every message; None keeps the talk in memory only.
        """
        self.screen = screen
        self.session = session
        self.path = path
        self._shown = len(session.conversation.messages)
        session.watch = self._changed

    @property
    def conversation(self) -> Conversation:
        """Everything said so far."""
        return self.session.conversation

    def run(self) -> None:
        """Read and answer until the user leaves.

        Raises:
            CoalmError: an answer failed and nobody is at the keyboard to go on.
            KeyboardInterrupt: the same, on Ctrl-C.
        """
        self._finish_turn()
        while (line := self._read()) is not None:
            if not line.startswith("/"):
                self._answer(lambda line=line: self.session.send(line))
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

    def _finish_turn(self) -> None:
        if is_open(self.conversation):
            self.screen.note("(going on where the saved turn was cut off)")
            self._answer(self.session.resume)

    def _answer(self, answer: Callable[[], Answer]) -> None:
        try:
            with self.screen.waiting():
                answer()
        except KeyboardInterrupt:
            if not self.screen.interactive:
                raise
        except CoalmError as error:
            self._tell(error)
        if reason := stop_reason(self.conversation):
            words = "was cut off" if reason == "length" else "ended without a reply"
            self.screen.note(f"(turn {words}: {reason.replace('_', ' ')})")

    def _changed(self, conversation: Conversation) -> None:
        self._save_to(self.path)
        for message in conversation.messages[self._shown :]:
            if message.role != "user":  # the user sees what they type
                self.screen.message(message)
        self._shown = len(conversation.messages)

    def _save_to(self, path: Path | None) -> None:
        if path:
            try:
                save_session(path, self.conversation)
            except DataError as error:
                self._tell(error)

    def _tell(self, error: CoalmError) -> None:
        """Show an error to who sits at the keyboard; with nobody there, it ends the chat."""
        if not self.screen.interactive:
            raise error
        self.screen.problem(str(error))

    def _open(self, conversation: Conversation) -> None:
        self.session.conversation = conversation.model_copy(
            update={"tools": self.session.toolbox.schemas}
        )
        self._shown = len(conversation.messages)

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
            for tool in self.session.toolbox.schemas
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
        self._open(load_session(path))
        self.path = path
        self.show()
        self._finish_turn()

    def _list(self) -> None:
        folder = self.path.parent if self.path else Path()
        lines = [f"{s.path}  {s.messages} messages  {s.opening}" for s in list_sessions(folder)]
        self.screen.note("\n".join(lines) or f"no sessions in {folder}")

    def _reset(self) -> None:
        system = tuple(m for m in self.conversation.messages if m.role == "system")
        meta = {k: v for k, v in self.conversation.meta.items() if k == TOOL_TEXT}
        self._open(Conversation(id=self.conversation.id, messages=system, meta=meta))
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
    limits: Limits = LIMITS
    tool_text: ToolText | None = None
    """How a new conversation shows its tools, see `coalm.formats.tool_text`; None is what the model
    is used to."""


def load_infer_config(path: Path | None, overrides: list[str], trust: bool) -> InferConfig:
    """The inference configuration, with coalm's own model if it names none; warnings go to stderr.

    Raises:
        ConfigError: the file or an override cannot be used.
    """
    if path is None and not any("model_name" in word for word in overrides):
        overrides = [f"model.model_name={SHIPPED_MODEL}", *overrides]
    loaded = load_config(InferConfig, path, overrides, trust_remote_code=trust)
    for warning in loaded.warnings:
        typer.echo(f"coalm: warning: {one_line(warning)}", err=True)
    return loaded.config


def start_talk(screen: Screen, config: InferConfig, toolbox: Toolbox, opening: Opening) -> None:
    """Load everything, then talk until the user leaves.

    Raises:
        CoalmError: a file or the model cannot be used, or an answer failed with nobody there.
    """
    conversation = _open_conversation(opening, config.model.model_name)
    with _session(screen, config, toolbox, opening, conversation) as session:
        talk = Talk(screen, session, opening.session)
        screen.note(f"{config.model.model_name}, {len(toolbox.schemas)} tools; /help for commands")
        talk.show()
        talk.run()


def replay_talk(
    screen: Screen, config: InferConfig | None, toolbox: Toolbox, opening: Opening, saved: Path
) -> None:
    """Hold a saved conversation once more, show it, and what is not as it was.

    Args:
        screen: Where it is shown.
        config: The model that answers; None lets the assistant say what was recorded.
        toolbox: The tools of now.
        opening: Format and limits; its session file, if any, gets the new conversation.
        saved: The conversation.

    Raises:
        CoalmError: a file or the model cannot be used, or an answer failed.
    """
    recorded = load_session(saved)
    with ExitStack() as stack:
        if config is None:
            session = recorded_session(recorded, toolbox, opening.limits)
        else:
            session = stack.enter_context(_session(screen, config, toolbox, opening, None))
        with screen.waiting():
            after = replay(recorded, session)
    if opening.session:
        save_session(opening.session, after)
    for message in after.messages:
        screen.message(message)
    screen.note(show_changes(recorded, after) or "(nothing changed)")


@contextmanager
def _session(
    screen: Screen,
    config: InferConfig,
    toolbox: Toolbox,
    opening: Opening,
    conversation: Conversation | None,
) -> Generator[AgentSession]:
    prompt_format = get_format(
        opening.prompt_format, opening.prompts, guided=config.generation.guided
    )
    with screen.waiting():
        engine = load_engine(config)
    with closing(engine):
        yield AgentSession(
            engine,
            toolbox,
            prompt_format=prompt_format,
            params=config.generation.sampling(),
            limits=opening.limits,
            conversation=conversation,
        )


def _open_conversation(opening: Opening, model: str) -> Conversation:
    if opening.session and opening.session.exists():
        return load_session(opening.session)
    name = opening.session.stem if opening.session else "chat"
    system = (Message(role="system", content=opening.system),) if opening.system else ()
    tool_text = opening.tool_text or usual_tool_text(model)
    return Conversation(id=name, messages=system, meta=tool_text_meta(tool_text))
