//! NumPy's arrays as records, on files that `tests/generate/arrays.py` wrote with NumPy.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use perceiver_data::{
    ArrayLayout, Cell, Modality, Record, RecordArrays, Rows, Source as _, Target,
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/arrays");

fn fixture(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(format!("{name}.npy"))
}

/// A file of single-precision numbers or of 16-bit integers.
fn write(folder: &Path, name: &str, dtype: &str, shape: &str, numbers: &[f32]) -> PathBuf {
    let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    for number in numbers {
        match dtype {
            "<f4" => bytes.extend(number.to_le_bytes()),
            _ => bytes.extend((*number as i16).to_le_bytes()),
        }
    }
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn examples(arrays: &RecordArrays) -> Vec<Result<Record, String>> {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut example = |index| arrays.example(index, &mut random).map_err(|error| error.to_string());
    (0..arrays.len()).map(&mut example).collect()
}

fn records(inputs: &Path, labels: Option<&Path>, layout: ArrayLayout) -> Vec<Record> {
    let arrays = RecordArrays::open(inputs, labels, "it", layout).unwrap();
    examples(&arrays).into_iter().map(Result::unwrap).collect()
}

fn refusal(inputs: &Path, labels: Option<&Path>, layout: ArrayLayout) -> String {
    RecordArrays::open(inputs, labels, "it", layout).err().unwrap().to_string()
}

fn class(name: &str) -> Option<Target> {
    Some(Target::Class(name.into()))
}

#[test]
fn numbers_of_every_type_and_order_are_read() {
    let mut files = 0;
    for entry in std::fs::read_dir(FIXTURES).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if ["unicode", "unicode_big", "bytes", "objects"].contains(&name) {
            continue;
        }
        files += 1;
        for (a, record) in records(&path, None, ArrayLayout::Series).iter().enumerate() {
            let place = (0..3).flat_map(|b| (0..4).map(move |c| (b, c)));
            let expected = place.map(|(b, c)| match name {
                "b1" => ((a + b + c) % 2) as f32,
                _ => (100 * a + 10 * b + c) as f32 - if name.contains('u') { 0.0 } else { 50.0 },
            });
            let expected = Modality::Series(Rows::new(4, expected.collect()));
            assert_eq!(record.inputs, [(Arc::from("it"), expected)], "{name}");
        }
    }
    assert_eq!(files, 18);
}

#[test]
fn whole_numbers_and_strings_are_classes() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = write(folder.path(), "x.npy", "<f4", "(3, 1)", &[1.0, 2.0, f32::NAN]);
    for (labels, names) in [("unicode", "Ærø 岛"), ("unicode_big", "Ærø 岛"), ("bytes", "Rome")]
    {
        let arrays =
            RecordArrays::open(&inputs, Some(&fixture(labels)), "it", ArrayLayout::Table).unwrap();
        let examples = examples(&arrays);
        assert_eq!(examples[0].as_ref().unwrap().target, class("Oslo"));
        assert_eq!(examples[2].as_ref().unwrap().target, class(names));
        let error = examples[1].as_ref().unwrap_err();
        let expected = ".npy: the label of example 1 is negative or empty, expected a class";
        assert!(error.ends_with(expected), "{error}");
    }
    let labels = write(folder.path(), "y.npy", "<i2", "(3,)", &[7.0, 0.0, 7.0]);
    let records = records(&inputs, Some(&labels), ArrayLayout::Table);
    assert_eq!(
        records.iter().map(|r| r.target.clone()).collect::<Vec<_>>(),
        [class("7"), class("0"), class("7")]
    );
    let row = |cell| Modality::Table { columns: ["0".to_owned()].into(), cells: vec![cell] };
    assert_eq!(records[1].inputs[0].1, row(Cell::Number(2.0)));
    assert_eq!(records[2].inputs[0].1, row(Cell::Missing));
    assert!(records[2].origin.ends_with("x.npy, example 2"), "{}", records[2].origin);
}

#[test]
fn other_numbers_are_values_to_predict() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = write(folder.path(), "x.npy", "<f4", "(2, 1)", &[1.0, 2.0]);
    let numbers = [0.5, 1.5, f32::NAN, 2.0];
    let labels = write(folder.path(), "y.npy", "<f4", "(2, 2)", &numbers);
    let arrays = RecordArrays::open(&inputs, Some(&labels), "it", ArrayLayout::Table).unwrap();
    let examples = examples(&arrays);
    assert_eq!(examples[0].as_ref().unwrap().target, Some(Target::Values(vec![0.5, 1.5])));
    let error = examples[1].as_ref().unwrap_err();
    assert!(error.ends_with("y.npy: the label of example 1 is not finite"), "{error}");
}

#[test]
fn nan_at_the_end_fills_up_short_examples_and_elements_may_have_classes() {
    let folder = tempfile::tempdir().unwrap();
    let nan = f32::NAN;
    let numbers =
        [1.0, 2.0, 9.0, nan, nan, nan, nan, nan, nan, 3.0, 4.0, nan, 5.0, 6.0, 8.0, nan, nan, nan];
    let inputs = write(folder.path(), "x.npy", "<f4", "(2, 3, 3)", &numbers);
    let labels = write(folder.path(), "y.npy", "<i2", "(2, 3)", &[4.0, 0.0, 0.0, -1.0, 5.0, 0.0]);
    let records = records(&inputs, Some(&labels), ArrayLayout::Points { dimensions: 2 });
    let Modality::Points { coordinates, features } = &records[0].inputs[0].1 else { panic!() };
    assert_eq!(*coordinates, Rows::new(2, vec![1.0, 2.0]));
    assert_eq!(*features, Rows::new(1, vec![9.0]));
    let Modality::Points { coordinates, features } = &records[1].inputs[0].1 else { panic!() };
    assert_eq!(*coordinates, Rows::new(2, vec![3.0, 4.0, 5.0, 6.0]));
    assert!(features.values[0].is_nan() && features.values[1] == 8.0);
    assert_eq!(records[0].target, Some(Target::Elements(vec![Some("4".into())])));
    assert_eq!(records[1].target, Some(Target::Elements(vec![None, Some("5".into())])));
}

#[test]
fn grids_may_leave_out_their_only_channel() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let inputs = write(folder.path(), "x.npy", "<f4", "(1, 2, 3)", &numbers);
    let grid = |shape: &[usize], channels| Modality::Grid {
        shape: shape.to_vec(),
        values: Rows::new(channels, numbers.to_vec()),
    };
    let read = |axes| records(&inputs, None, ArrayLayout::Grid { axes })[0].inputs[0].1.clone();
    assert_eq!(read(2), grid(&[2, 3], 1));
    assert_eq!(read(1), grid(&[2], 3));
}

#[test]
fn arrays_that_do_not_fit_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name, dtype, shape, count| write(folder.path(), name, dtype, shape, &vec![0.0; count]);
    let inputs = write("x.npy", "<f4", "(2, 3)", 6);
    for (inputs, labels, layout, expected) in [
        (
            fixture("objects"),
            None,
            ArrayLayout::Table,
            "holds pickled Python objects, which may run code: expected numbers",
        ),
        (fixture("unicode"), None, ArrayLayout::Table, "elements are strings, expected numbers"),
        (
            inputs.clone(),
            None,
            ArrayLayout::Points { dimensions: 3 },
            "shape [2, 3], expected [examples, points, coordinates and features]",
        ),
        (
            fixture("i1"),
            None,
            ArrayLayout::Points { dimensions: 5 },
            "4 numbers for each point, expected 5 coordinates, and at least one",
        ),
        (inputs.clone(), None, ArrayLayout::Grid { axes: 4 }, "a grid of 4 axes, expected 1 to 3"),
        (
            write("none.npy", "<f4", "(0, 3)", 0),
            None,
            ArrayLayout::Table,
            "shape [0, 3], expected at least one along each axis",
        ),
        (inputs.clone(), Some(write("a.npy", "<i2", "(3,)", 3)), ArrayLayout::Table, "x.npy"),
        (
            inputs.clone(),
            Some(write("b.npy", "<i2", "(2, 2)", 4)),
            ArrayLayout::Table,
            "shape [2, 2], expected one class, or 3, for each example",
        ),
        (
            inputs.clone(),
            Some(write("c.npy", "<f4", "(2, 3, 1)", 6)),
            ArrayLayout::Table,
            "shape [2, 3, 1], expected [examples, values]",
        ),
        (
            folder.path().join("missing.npy"),
            None,
            ArrayLayout::Table,
            "No such file or directory (os error 2)",
        ),
    ] {
        let error = refusal(&inputs, labels.as_deref(), layout);
        assert!(error.ends_with(expected) && !error.contains('\n'), "{error}");
    }
}
