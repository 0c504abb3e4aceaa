//! Sources over the sets that `cargo xtask data` fetches and makes.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use perceiver_data::{
    IdxImages, Label, LabelColumns, Modality, PerceiverTokenizer, Pieces, PlainText, RecordSeries,
    Source, Target, TextColumns, TextTable, WholeWordMask,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn data() -> PathBuf {
    std::env::var_os("PERCEIVER_DATA").expect("`cargo xtask data-tests` names it").into()
}

fn all<S: Source>(source: &S) -> Vec<S::Example> {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    (0..source.len()).map(|index| source.example(index, &mut random).unwrap()).collect()
}

/// Mean 0.2860 and deviation 0.3530 of the training set are widely published.
#[test]
#[ignore = "needs `cargo xtask data`"]
fn fashion_mnist_has_its_published_mean_and_deviation() {
    let folder = data().join("deb/dataset-fashion-mnist/usr/share/datasets/fashion-mnist");
    let file = |name: &str| folder.join(format!("train-{name}-ubyte.gz"));
    let source = IdxImages::open(file("images-idx3"), file("labels-idx1")).unwrap();
    assert_eq!((source.len(), source.classes()), (60_000, 10));
    let (mut sum, mut squares, mut classes) = (0.0, 0.0, [0; 10]);
    for example in all(&source) {
        classes[example.label] += 1;
        for pixel in example.image.pixels() {
            let value = f64::from(pixel[0]) / 255.0;
            sum += value;
            squares += value * value;
        }
    }
    let pixels = (60_000 * 28 * 28) as f64;
    let mean = sum / pixels;
    let deviation = (squares / pixels - mean * mean).sqrt();
    assert_eq!(classes, [6000; 10]);
    assert!((mean - 0.2860).abs() < 5e-5, "{mean}");
    assert!((deviation - 0.3530).abs() < 5e-5, "{deviation}");
}

/// The files' own description: 12 dimensions, lengths between 7 and 29 (26 in the training set), 30 utterances for each of nine
/// speakers in the training set and between 24 and 88 in the test set.
#[test]
#[ignore = "needs `cargo xtask data`"]
fn japanese_vowels_are_as_their_description_says() {
    let folder = data().join("pypi/sktime/sktime/datasets/data/JapaneseVowels");
    for (part, count, longest, of_a_speaker) in
        [("TRAIN", 270, 26, 30..=30), ("TEST", 370, 29, 24..=88)]
    {
        let path = folder.join(format!("JapaneseVowels_{part}.ts"));
        let records = all(&RecordSeries::from_ts(path, "series").unwrap());
        let lengths = records.iter().map(|record| match &record.inputs[0].1 {
            Modality::Series(rows) => {
                assert_eq!(rows.columns, 12);
                rows.rows
            }
            other => panic!("{other:?}"),
        });
        let lengths: BTreeSet<_> = lengths.collect();
        assert_eq!(
            (records.len(), lengths.first(), lengths.last()),
            (count, Some(&7), Some(&longest))
        );
        for speaker in 1..=9 {
            let target = Some(Target::Class(speaker.to_string()));
            let found = records.iter().filter(|record| record.target == target).count();
            assert!(of_a_speaker.contains(&found), "{part}: {found} of {speaker}");
        }
    }
}

#[test]
#[ignore = "needs `cargo xtask data`"]
fn tables_are_whole_and_share_no_text_with_their_tests() {
    let columns = TextColumns { text: "text".into(), label: LabelColumns::Class("label".into()) };
    for (set, classes) in [("languages", 12), ("spam", 2), ("sentiment", 2)] {
        let folder = data().join("sets").join(set);
        let train = TextTable::open(folder.join("train.csv"), &columns, None).unwrap();
        let names = train.class_names();
        let test = TextTable::open(folder.join("test.csv"), &columns, Some(names)).unwrap();
        assert_eq!(names.len(), classes);
        let texts =
            |table: &TextTable| all(table).into_iter().map(|example| example.text).collect();
        let (learnt, asked): (BTreeSet<String>, BTreeSet<String>) = (texts(&train), texts(&test));
        assert!(learnt.is_disjoint(&asked), "{set}");
        assert!(all(&test).iter().any(|example| example.label == Label::Class(classes - 1)));
    }
}

#[test]
#[ignore = "needs `cargo xtask data`"]
fn a_seventh_of_a_novel_s_words_is_asked_for() {
    let novel = data().join("sets/novels/persuasion.txt");
    let (tokenizer, mask) = (PerceiverTokenizer::default(), WholeWordMask::default());
    let source = PlainText::open(&[novel], 512, Pieces::Consecutive, tokenizer, mask).unwrap();
    let (mut asked, mut tokens) = (0, 0);
    for example in all(&source) {
        assert!(example.ids.len() <= 512);
        asked += example.labels.iter().filter(|label| **label != -100).count();
        tokens += example.ids.len();
    }
    // Bytes of words are five of six.
    let share = asked as f64 / tokens as f64;
    assert!((share - 0.15 * 5.0 / 6.0).abs() < 0.01, "{share}");
}
