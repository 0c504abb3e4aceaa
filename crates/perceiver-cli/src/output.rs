//! Everything the program prints, on stdout and stderr.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::DType;
use clap::builder::styling::{AnsiColor, Style};
use serde_json::Value;

use crate::exit_code;
use crate::progress::{Bar, beside_bars};

/// How results are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Output {
    /// Prints one result, as a JSON document or as text.
    pub(crate) fn result(self, json: Value, text: &str) -> Result<(), StandardOutputError> {
        let json = json.to_string();
        let text = if self.json { &json } else { text };
        let written = beside_bars(|| {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush())
        });
        written.map_err(StandardOutputError)
    }

    /// A progress bar for many pieces of work, which are called `unit`.
    pub(crate) fn progress(self, what: &'static str, unit: &str) -> Bar {
        Bar::new(what, unit, !self.quiet)
    }

    /// Prints a note beside the result.
    pub(crate) fn note(self, message: &str) {
        if !self.quiet {
            say("", message);
        }
    }

    pub(crate) fn warnings(self, messages: &[String]) {
        for message in messages {
            say("warning: ", message);
        }
    }
}

pub(crate) fn error(message: &str) {
    say("error: ", message);
}

fn say(kind: &str, message: &str) {
    let colour = match kind {
        "error: " => Some(AnsiColor::Red),
        "warning: " => Some(AnsiColor::Yellow),
        _ => None,
    };
    let style = colour.map_or_else(Style::new, |colour| colour.on_default().bold());
    let line = one_line(message);
    let message = shortened(&line);
    // If stderr is closed, nobody can be told.
    let _ =
        beside_bars(|| writeln!(anstream::stderr(), "perceiver: {style}{kind}{style:#}{message}"));
}

/// A path in results: its text, with every byte that is not part of a character as `\xE9`. Two files
/// then have two names.
pub(crate) fn path_text(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

/// Cuts the middle out of a message that holds an enormous name or value.
fn shortened(message: &str) -> Cow<'_, str> {
    const LONGEST: usize = 2000;
    const END: usize = 500;
    if message.len() <= LONGEST {
        return message.into();
    }
    let start = message.floor_char_boundary(LONGEST - END);
    let end = message.ceil_char_boundary(message.len() - END);
    format!("{} … {}", &message[..start], &message[end..]).into()
}

/// Escapes control characters, and those that change the direction of text or end a line: file names
/// and checkpoints appear in our messages and must neither forge a line nor control the terminal.
pub(crate) fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for character in message.chars() {
        let is_hidden = matches!(
            character,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}' | '\u{feff}'
        );
        if character.is_control() || is_hidden {
            let _ = write!(line, "{}", character.escape_debug());
        } else {
            line.push(character);
        }
    }
    line
}

/// An error and its causes, without causes that the message already ends with.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !message.ends_with(&cause) {
            let _ = write!(message, ": {cause}");
        }
    }
    message
}

/// Writing to stdout failed.
#[derive(Debug)]
pub(crate) struct StandardOutputError(io::Error);

impl StandardOutputError {
    /// Returns true if the reader closed the pipe, as `head` does.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

impl From<io::Error> for StandardOutputError {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for StandardOutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write to standard output: {}", self.0)
    }
}

impl std::error::Error for StandardOutputError {}

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Set by the first panic if the system's limits caused it.
static IS_AT_LIMIT: AtomicBool = AtomicBool::new(false);

/// Turns a panic into one line without a backtrace; only the first one if several threads panic.
pub(crate) fn tame_panics() {
    static SEEN: AtomicBool = AtomicBool::new(false);
    panic::set_hook(Box::new(|info| {
        if EXPECTED.get() || SEEN.swap(true, Ordering::SeqCst) {
            return;
        }
        let limit = info.payload_as_str().and_then(missing_thread);
        IS_AT_LIMIT.store(limit.is_some(), Ordering::SeqCst);
        error(&limit.unwrap_or_else(|| bug(info)));
    }));
}

/// The exit code after a panic.
pub(crate) fn code_after_panic() -> u8 {
    if IS_AT_LIMIT.load(Ordering::SeqCst) { exit_code::FAILURE } else { exit_code::BUG }
}

/// The message for a panic of a library that could not start a thread.
fn missing_thread(panic: &str) -> Option<String> {
    let (_, error) = panic.split_once("kind: WouldBlock, message: \"")?;
    let (reason, _) = error.split_once('"')?;
    Some(format!("{NO_THREAD}: {reason}"))
}

/// The error when the system refuses a thread, without its reason.
pub(crate) const NO_THREAD: &str =
    "cannot start a thread, perhaps for a limit on processes or memory";

fn bug(info: &PanicHookInfo<'_>) -> String {
    let what = info.payload_as_str().unwrap_or("no reason given");
    let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
    format!("internal error{}: {what}", place.unwrap_or_default())
}

/// The result of `work`, or its panic message.
pub(crate) fn without_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    EXPECTED.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(false);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "no reason given".to_owned())
    })
}

/// Aligns rows in columns: text on the left, numbers on the right.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let number = |cell: &str| {
        cell.strip_prefix('-').unwrap_or(cell).starts_with(|first: char| first.is_ascii_digit())
    };
    let columns: Vec<(usize, bool)> = (0..N)
        .map(|column| {
            let cells = || rows.iter().map(|row| row[column].as_str());
            let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0);
            (width, cells().all(number))
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, &(width, numbers)) in row.iter().zip(&columns) {
            let padding = " ".repeat(width - cell.chars().count());
            let (left, right) = if numbers { (&padding[..], "") } else { ("", &padding[..]) };
            let _ = write!(line, "  {left}{cell}{right}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A field of RFC 4180, quoted if needed.
pub(crate) fn csv_field(value: &str) -> String {
    if value.contains([',', '"', '\r', '\n']) {
        return format!("\"{}\"", value.replace('"', "\"\""));
    }
    value.to_owned()
}

/// A count with commas between thousands.
pub(crate) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in megabytes of 10⁶ bytes.
pub(crate) fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// PyTorch's name of a type.
pub(crate) fn dtype_name(dtype: DType) -> String {
    let name = format!("{dtype:?}").to_lowercase();
    match dtype {
        DType::F64 => "float64".to_owned(),
        DType::F32 => "float32".to_owned(),
        DType::F16 => "float16".to_owned(),
        DType::BF16 => "bfloat16".to_owned(),
        DType::I64 | DType::I32 | DType::I16 | DType::I8 => name.replace('i', "int"),
        DType::U64 | DType::U32 | DType::U16 | DType::U8 => name.replace('u', "uint"),
        DType::Bool(_) => "bool".to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_forges_a_line_or_colours_the_terminal() {
        assert_eq!(one_line("a\nperceiver: b\u{1b}[31m"), "a\\nperceiver: b\\u{1b}[31m");
        assert_eq!(one_line("\u{202e}gnp.exe \u{2028}"), "\\u{202e}gnp.exe \\u{2028}");
        assert_eq!(one_line("日本語 👩\u{200d}🚀"), "日本語 👩\u{200d}🚀");
    }

    #[test]
    fn an_enormous_name_is_cut_in_the_middle() {
        assert_eq!(shortened(&"a".repeat(2000)).len(), 2000);
        let message = format!("m.safetensors: {} is unused", "é".repeat(100_000));
        let message = shortened(&message);
        assert!(message.len() < 2100, "{}", message.len());
        assert!(message.starts_with("m.safetensors: é") && message.ends_with("é is unused"));
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_not_text_stay_distinct() {
        use std::os::unix::ffi::OsStrExt;
        let text = |bytes: &[u8]| path_text(Path::new(std::ffi::OsStr::from_bytes(bytes)));
        assert_eq!(text(b"caf\xe9/\xc3\xa9.png"), "caf\\xE9/é.png");
        assert_ne!(text(b"\xff"), text(b"\xfe"));
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(201_108_230), "201,108,230");
        assert_eq!(megabytes(804_432_920), "804.4 MB");
        assert_eq!(dtype_name(DType::BF16), "bfloat16");
        assert_eq!(dtype_name(DType::I64), "int64");
        assert_eq!(dtype_name(DType::U8), "uint8");
    }

    #[test]
    fn columns_of_numbers_stand_to_the_right() {
        let rows = [["a", "-5", "3 cats"], ["bcd", "120", "dog"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "  a     -5  3 cats\n  bcd  120  dog\n");
    }

    #[test]
    fn causes_are_named_once() {
        let error = anyhow::anyhow!("disk full").context("out: cannot write");
        assert_eq!(chain(&error), "out: cannot write: disk full");
        let error = anyhow::anyhow!("disk full").context("cannot write: disk full");
        assert_eq!(chain(&error), "cannot write: disk full");
    }

    #[test]
    fn a_library_s_panic_for_want_of_threads_is_no_bug() {
        let os = "Os { code: 11, kind: WouldBlock, message: \"Resource temporarily unavailable\" }";
        let expected = format!("{NO_THREAD}: Resource temporarily unavailable");
        for panic in [
            format!("failed to spawn thread: {os}"),
            format!("called `Result::unwrap()` on an `Err` value: {os}"),
            format!("no thread pool: ThreadPoolBuildError {{ kind: IOError({os}) }}"),
        ] {
            assert_eq!(missing_thread(&panic).as_ref(), Some(&expected));
        }
        assert_eq!(missing_thread("index out of bounds: the len is 3 but the index is 11"), None);
    }

    #[test]
    fn a_panic_can_be_expected() {
        assert_eq!(without_panic(|| 5), Ok(5));
        assert_eq!(without_panic(|| -> u8 { panic!("no driver") }), Err("no driver".to_owned()));
    }
}
