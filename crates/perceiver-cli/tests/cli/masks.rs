//! Masks that stand for several bytes, words to choose from, and long texts.

use serde_json::Value;

use crate::support::{arguments, fixture, logits, run, run_with_input, softmax};

const MASK: i64 = 3;

fn id(byte: u8) -> i64 {
    i64::from(byte) + 6
}

/// Probabilities of the tokens at a position of a text between `[CLS]` and `[SEP]`.
fn probabilities(ids: &[i64], place: usize) -> Vec<f64> {
    let ids = [&[4], ids, &[5]].concat();
    let logits = logits(&fixture("masked_lm"), &ids);
    softmax(logits.values.chunks(53).nth(place + 1).unwrap())
}

fn fill(text: &str, options: &[&str]) -> Value {
    let mut command = arguments!["fill-mask", "--model", fixture("masked_lm"), text, "--json"];
    command.extend(options.iter().map(Into::into));
    run(command).json()
}

/// Compares relative to the score, because products of probabilities are small.
#[track_caller]
fn assert_near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found / expected - 1.0).abs() < 1e-5, "{found} is not {expected}");
}

/// The score of a candidate of the first span.
fn score<'a>(answer: &'a Value, text: &str) -> &'a Value {
    let candidates = answer["spans"][0]["candidates"].as_array().unwrap();
    &candidates.iter().find(|candidate| candidate["text"] == text).unwrap()["score"]
}

#[test]
fn a_mask_can_stand_for_several_bytes() {
    let wide = fill("!#[MASK]$", &["--span", "3"]);
    let written = fill("!#[MASK][MASK][MASK]$", &[]);
    assert_eq!(wide["spans"][0]["candidates"], written["spans"][0]["candidates"]);
    assert_eq!(wide["spans"][0]["bytes"], 3);
    assert_eq!(wide["spans"][0]["end"], 8);
    assert_eq!(wide["filled"], written["filled"]);
}

#[test]
fn words_are_scored_with_as_many_masks_as_they_have_bytes() {
    let answer = fill("!#[MASK]$", &["--candidates", "%,&'"]);
    let [bang, hash, dollar] = [b'!', b'#', b'$'].map(id);
    let one = probabilities(&[bang, hash, MASK, dollar], 2);
    let two = [bang, hash, MASK, MASK, dollar];
    let two = [probabilities(&two, 2), probabilities(&two, 3)];
    assert_near(score(&answer, "%"), one[id(b'%') as usize]);
    let both = two[0][id(b'&') as usize] * two[1][id(b'\'') as usize];
    assert_near(score(&answer, "&'"), both);
}

#[test]
fn words_with_bytes_that_the_model_does_not_know_are_left_out() {
    let answer = fill("!#[MASK]$", &["--candidates", "hello,&", "--rescore", "2"]);
    assert_eq!(answer["spans"][0]["candidates"].as_array().unwrap().len(), 1);
    assert_eq!(answer["spans"][0]["candidates"][0]["text"], "&");
}

#[test]
fn rescored_bytes_are_read_with_those_before_them() {
    let answer = fill("!#[MASK]$", &["--candidates", "&',%(", "--rescore", "2"]);
    let [bang, hash, dollar] = [b'!', b'#', b'$'].map(id);
    for [first, second] in [*b"&'", *b"%("] {
        let alone = probabilities(&[bang, hash, MASK, MASK, dollar], 2);
        let after = probabilities(&[bang, hash, id(first), MASK, dollar], 3);
        let text = String::from_utf8(vec![first, second]).unwrap();
        let expected = alone[id(first) as usize] * after[id(second) as usize];
        assert_near(score(&answer, &text), expected);
    }
}

#[test]
fn the_best_guesses_can_be_rescored() {
    let guessed = fill("!#[MASK]$", &["--span", "2", "-k", "4"]);
    let rescored = fill("!#[MASK]$", &["--span", "2", "-k", "2", "--rescore", "4"]);
    let texts = |answer: &Value| -> Vec<String> {
        let candidates = answer["spans"][0]["candidates"].as_array().unwrap();
        candidates.iter().map(|candidate| candidate["text"].to_string()).collect()
    };
    let (guessed, kept) = (texts(&guessed), texts(&rescored));
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|text| guessed.contains(text)), "{kept:?} of {guessed:?}");
}

#[test]
fn long_texts_are_read_in_windows_around_their_masks() {
    // The model has 13 positions; [CLS] and [SEP] take two of them.
    let text = "!\"#$%&'()*+,[MASK]*)('&%$#\"![MASK]!";
    let answer = fill(text, &["-k", "47"]);
    let bytes = |text: &str| text.bytes().map(id).collect::<Vec<_>>();
    let around = |before: &str, after: &str| [bytes(before), vec![MASK], bytes(after)].concat();
    let windows = [(around("()*+,", "*)('&"), 5), (around(")('&%$#\"!", "!"), 9)];
    for (span, (ids, place)) in windows.iter().enumerate() {
        assert_eq!(ids.len(), 11);
        let expected = probabilities(ids, *place);
        let candidates = answer["spans"][span]["candidates"].as_array().unwrap();
        assert_eq!(candidates.len(), 47);
        for candidate in candidates {
            let byte = candidate["text"].as_str().unwrap().as_bytes()[0];
            assert_near(&candidate["score"], expected[id(byte) as usize]);
        }
    }
}

#[test]
fn every_line_of_a_file_is_filled_whatever_is_wrong_with_others() {
    let model = fixture("masked_lm");
    let command =
        arguments!["fill-mask", "--model", &model, "--file", "-", "--json", "--batch", "3"];
    let run = run_with_input(command, b"!#[MASK]\n!!\n[MASK]!!#$%\r\nhello [MASK]\n&[MASK]\n");
    assert_eq!(run.code, 1, "{run:?}");
    let answers = run.documents();
    assert_eq!(answers.len(), 3);
    for (answer, text) in answers.iter().zip(["!#[MASK]", "[MASK]!!#$%", "&[MASK]"]) {
        let alone = fill(text, &[]);
        assert_eq!(answer["text"], text);
        assert_eq!(answer["filled"], alone["filled"]);
        assert_near(
            &answer["spans"][0]["candidates"][0]["score"],
            alone["spans"][0]["candidates"][0]["score"].as_f64().unwrap(),
        );
    }
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert!(lines.iter().any(|line| line.contains("standard input:2") && line.contains("[MASK]")));
    assert!(lines.iter().any(|line| line.contains("standard input:4") && line.contains("110")));
    assert!(run.stderr.contains("2 of 5 inputs failed"), "{}", run.stderr);
}
