use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use perceiver_data::{
    EncodeInput, EncodeOptions, Encoding, Padding, PerceiverTokenizer, Span, Truncation,
};
use serde_json::{Value, json};

use super::Context;
use crate::args::OptionalModelArguments;
use crate::files::text_argument;
use crate::output::{one_line, table};

const EXAMPLES: &str = "\
Examples:
  perceiver tokenize \"Hello [MASK]\"
  perceiver tokenize --json --max-length 32 --padding=max-length --truncation \"Hello\"
  perceiver tokenize \"A question?\" --pair \"An answer.\"
  cat letter.txt | perceiver tokenize -
  perceiver tokenize --decode 4,78,107,5 --skip-special-tokens";

/// Turn a text into token ids, or ids into a text
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TokenizeArguments {
    /// Text to encode; - reads it from standard input
    #[arg(required_unless_present = "decode")]
    text: Option<String>,
    /// Second text, encoded together with the first
    #[arg(long, value_name = "TEXT", requires = "text")]
    pair: Option<String>,
    /// Leave out [CLS] and [SEP] around the text
    #[arg(long)]
    no_special_tokens: bool,
    /// Length to truncate and pad to, in tokens [default: the model's]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Pad with [PAD] to the maximum length
    #[arg(long, value_name = "UP-TO", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "max-length")]
    padding: Option<PaddingArgument>,
    /// Truncate to the maximum length
    #[arg(long, value_name = "FROM", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "longest-first")]
    truncation: Option<TruncationArgument>,
    /// Ids to turn into text, separated by commas or spaces
    #[arg(long, value_name = "IDS", num_args = 1.., allow_negative_numbers = true)]
    #[arg(conflicts_with_all = ["text", "pair", "no_special_tokens", "max_length", "padding", "truncation"])]
    decode: Option<Vec<String>>,
    /// Leave [CLS], [SEP], [PAD] and the like out of the decoded text
    #[arg(long, requires = "decode")]
    skip_special_tokens: bool,
    #[command(flatten)]
    model: OptionalModelArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PaddingArgument {
    /// Pad to --max-length or the model's maximum
    #[value(alias = "max_length")]
    MaxLength,
    /// Pad to the longest text, which changes nothing for one text
    Longest,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TruncationArgument {
    /// Cut the longer text of a pair
    #[value(alias = "longest_first")]
    LongestFirst,
    /// Cut the first text
    #[value(alias = "only_first")]
    OnlyFirst,
    /// Cut the second text
    #[value(alias = "only_second")]
    OnlySecond,
}

pub(crate) fn run(arguments: &TokenizeArguments, context: &Context) -> Result<()> {
    let tokenizer = match arguments.model.folder()? {
        Some(folder) => PerceiverTokenizer::from_pretrained(folder)?,
        None => PerceiverTokenizer::default(),
    };
    match (&arguments.decode, &arguments.text) {
        (Some(ids), _) => decode(&tokenizer, ids, arguments.skip_special_tokens, context),
        (None, Some(text)) => encode(&tokenizer, text, arguments, context),
        (None, None) => bail!("expected a text or --decode"),
    }
}

fn decode(
    tokenizer: &PerceiverTokenizer,
    ids: &[String],
    skip_special_tokens: bool,
    context: &Context,
) -> Result<()> {
    let separators = |character: char| ",[]".contains(character) || character.is_whitespace();
    let ids = ids.iter().flat_map(|ids| ids.split(separators)).filter(|id| !id.is_empty());
    let ids: Vec<u32> = ids
        .map(|id| {
            id.parse().map_err(|_| anyhow!("--decode: {id:?} is not a token id, expected numbers"))
        })
        .collect::<Result<_>>()?;
    let text = tokenizer.decode(&ids, skip_special_tokens).context("--decode")?;
    context.output.result(json!({ "text": text }), &text)?;
    Ok(())
}

fn encode(
    tokenizer: &PerceiverTokenizer,
    text: &str,
    arguments: &TokenizeArguments,
    context: &Context,
) -> Result<()> {
    let text = text_argument(text)?;
    let pair = arguments.pair.as_deref();
    let input = match pair {
        None => EncodeInput::Single(&text),
        Some(pair) => EncodeInput::Pair(&text, pair),
    };
    let encoding = tokenizer.encode(input, &options(arguments))?;
    if let Err(error) = tokenizer.check_length(&encoding) {
        context.output.warnings(&[error.to_string()]);
    }
    let texts = [&text, pair.unwrap_or_default()];
    let tokens = tokens(tokenizer, &encoding)?;
    let json = json!({
        "input_ids": encoding.input_ids,
        "attention_mask": encoding.attention_mask,
        "special_tokens_mask": encoding.special_tokens_mask,
        "offsets": encoding.offsets.iter().map(|&span| offset(span)).collect::<Vec<_>>(),
        "tokens": tokens,
    });
    context.output.result(json, &as_text(&encoding, &tokens, texts))?;
    Ok(())
}

fn options(arguments: &TokenizeArguments) -> EncodeOptions {
    let options = EncodeOptions::default()
        .with_special_tokens(!arguments.no_special_tokens)
        .with_padding(match arguments.padding {
            None => Padding::None,
            Some(PaddingArgument::MaxLength) => Padding::MaxLength,
            Some(PaddingArgument::Longest) => Padding::Longest,
        })
        .with_truncation(match arguments.truncation {
            None => Truncation::None,
            Some(TruncationArgument::LongestFirst) => Truncation::LongestFirst,
            Some(TruncationArgument::OnlyFirst) => Truncation::OnlyFirst,
            Some(TruncationArgument::OnlySecond) => Truncation::OnlySecond,
        });
    match arguments.max_length {
        Some(length) => options.with_max_length(length),
        None => options,
    }
}

/// The text of each token; bytes that are not characters of their own appear as numbers.
fn tokens(tokenizer: &PerceiverTokenizer, encoding: &Encoding) -> Result<Vec<String>> {
    let token = |&id: &u32| {
        let bytes = tokenizer.decode_bytes(&[id], false)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| {
            error.as_bytes().iter().map(|byte| format!("<0x{byte:02X}>")).collect()
        }))
    };
    encoding.input_ids.iter().map(token).collect()
}

fn offset(span: Option<Span>) -> Value {
    span.map_or(Value::Null, |span| json!([span.text, span.start, span.end]))
}

fn as_text(encoding: &Encoding, tokens: &[String], texts: [&str; 2]) -> String {
    let two = !texts[1].is_empty();
    let rows: Vec<[String; 4]> = encoding
        .input_ids
        .iter()
        .zip(tokens)
        .zip(encoding.offsets.iter().zip(&encoding.attention_mask))
        .enumerate()
        .map(|(place, ((id, token), (span, mask)))| {
            let offset = match span {
                None if *mask == 0 => "padding".to_owned(),
                None => "added".to_owned(),
                Some(span) if two => format!("text {} {}..{}", span.text + 1, span.start, span.end),
                Some(span) => format!("bytes {}..{}", span.start, span.end),
            };
            [place.to_string(), id.to_string(), format!("\"{}\"", one_line(token)), offset]
        })
        .collect();
    let ids: Vec<String> = encoding.input_ids.iter().map(u32::to_string).collect();
    format!("{}\n\n{}", ids.join(" "), table(&rows))
}
