use std::path::Path;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::Source;
use super::records::MAX_RECORDS;
use crate::error::{Error, Result};
use crate::npy::{Element, NpyArray};
use crate::{Cell, Modality, Record, Rows, Target};

/// Examples along the first axis of an array in NumPy's format (`.npy`), each a [`Record`] with one
/// modality, with their labels in a second array.
///
/// Numbers may have any type, byte order and order of axes; a number that is not finite is missing.
/// Steps and points without a single number at the end of an example are cut: arrays hold examples of
/// different lengths by filling them up with NaN.
///
/// Labels are taken by their type and shape. Whole numbers, truth values and strings are classes: one for
/// each example, or one for each of its elements, where negative numbers and empty strings are not counted.
/// Other numbers are values to predict, one or several for each example.
#[derive(Debug, Clone)]
pub struct RecordArrays {
    name: Arc<str>,
    layout: ArrayLayout,
    inputs: NpyArray,
    labels: Option<NpyArray>,
    /// Names of the columns of a table.
    columns: Arc<[String]>,
}

/// Meaning of the axes of an array of examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayLayout {
    /// `[examples, steps, channels]`, or `[examples, steps]` of one channel.
    Series,
    /// `[examples, columns]`; columns are named by their numbers, from 0.
    Table,
    /// `[examples, points, coordinates and features]`.
    Points {
        /// Number of coordinates, which come first.
        dimensions: usize,
    },
    /// `[examples, axes…, channels]`, or without the last one for one channel.
    Grid {
        /// Number of axes, 1 to 3.
        axes: usize,
    },
}

impl RecordArrays {
    /// Reads an array of examples into records with a modality called `name`, and the array of their
    /// labels.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, is not an array of numbers (labels may be strings), differs in
    /// length from its header, exceeds 4 GiB or 2²⁴ examples, or has no examples; if the shape does not fit
    /// the layout; or if the labels are not one, or one per element, for each example.
    pub fn open(
        inputs: impl AsRef<Path>,
        labels: Option<&Path>,
        name: impl Into<Arc<str>>,
        layout: ArrayLayout,
    ) -> Result<Self> {
        let inputs = NpyArray::read(inputs.as_ref())?;
        check_inputs(&inputs, layout).map_err(|reason| Error::data(&inputs.path, reason))?;
        let labels = labels.map(NpyArray::read).transpose()?;
        if let Some(labels) = &labels {
            check_labels(labels, &inputs, layout)
                .map_err(|reason| Error::data(&labels.path, reason))?;
        }
        let columns = match layout {
            ArrayLayout::Table => (0..inputs.shape[1]).map(|column| column.to_string()).collect(),
            _ => Arc::default(),
        };
        Ok(Self { name: name.into(), layout, inputs, labels, columns })
    }

    fn modality(&self, index: usize) -> Modality {
        let (stride, shape) = (self.inputs.stride(), &self.inputs.shape[1..]);
        let numbers = || (index * stride..(index + 1) * stride).map(|i| self.inputs.number(i));
        match self.layout {
            ArrayLayout::Series => Modality::Series(without_padding(
                shape.get(1).copied().unwrap_or(1),
                numbers().collect(),
            )),
            ArrayLayout::Table => {
                let cell = |number: f32| {
                    if number.is_finite() { Cell::Number(number) } else { Cell::Missing }
                };
                let cells = numbers().map(cell).collect();
                Modality::Table { columns: self.columns.clone(), cells }
            }
            ArrayLayout::Points { dimensions } => {
                let points = without_padding(shape[1], numbers().collect());
                let split = |from: usize, to: usize| {
                    let rows = points.values.chunks(shape[1]);
                    Rows::new(
                        to - from,
                        rows.flat_map(|row| row[from..to].iter().copied()).collect(),
                    )
                };
                let features = match shape[1] - dimensions {
                    0 => Rows::empty(points.rows),
                    _ => split(dimensions, shape[1]),
                };
                Modality::Points { coordinates: split(0, dimensions), features }
            }
            ArrayLayout::Grid { axes } => {
                let channels = shape.get(axes).copied().unwrap_or(1);
                let values = Rows::new(channels, numbers().collect());
                Modality::Grid { shape: shape[..axes].to_vec(), values }
            }
        }
    }

    /// The label of an example of so many elements.
    fn target(&self, index: usize, elements: usize) -> Result<Option<Target>, String> {
        let Some(labels) = &self.labels else { return Ok(None) };
        let stride = labels.stride();
        let first = index * stride;
        if labels.element() == Element::Float {
            let values: Vec<f32> = (first..first + stride).map(|i| labels.number(i)).collect();
            let all_finite = values.iter().all(|value| value.is_finite());
            return if all_finite {
                Ok(Some(Target::Values(values)))
            } else {
                Err("is not finite".into())
            };
        }
        if labels.shape.len() == 1 {
            let name = labels.name(first)?.ok_or("is negative or empty, expected a class")?;
            return Ok(Some(Target::Class(name)));
        }
        let names = (first..first + elements.min(stride))
            .map(|i| Ok(labels.name(i)?.map(Arc::from)))
            .collect::<Result<_, String>>()?;
        Ok(Some(Target::Elements(names)))
    }
}

/// Rows up to the last one that has a number.
fn without_padding(columns: usize, mut values: Vec<f32>) -> Rows {
    let last = values.iter().rposition(|value| !value.is_nan());
    values.truncate(last.map_or(0, |last| (last / columns + 1) * columns));
    Rows::new(columns, values)
}

fn check_inputs(inputs: &NpyArray, layout: ArrayLayout) -> Result<(), String> {
    let shape = &inputs.shape;
    if matches!(inputs.element(), Element::Unicode | Element::Bytes) {
        return Err("elements are strings, expected numbers".into());
    }
    let (ranks, axes) = match layout {
        ArrayLayout::Series => (2..=3, "examples, steps, channels"),
        ArrayLayout::Table => (2..=2, "examples, columns"),
        ArrayLayout::Points { .. } => (3..=3, "examples, points, coordinates and features"),
        ArrayLayout::Grid { axes } if (1..=3).contains(&axes) => {
            (axes + 1..=axes + 2, "examples, 1 to 3 axes, channels")
        }
        ArrayLayout::Grid { axes } => {
            return Err(format!("a grid of {axes} axes, expected 1 to 3"));
        }
    };
    if !ranks.contains(&shape.len()) {
        return Err(format!("shape {shape:?}, expected [{axes}]"));
    }
    if shape.contains(&0) {
        return Err(format!("shape {shape:?}, expected at least one along each axis"));
    }
    if shape[0] > MAX_RECORDS {
        return Err(format!("{} examples, expected at most {MAX_RECORDS}", shape[0]));
    }
    if let ArrayLayout::Points { dimensions } = layout
        && !(1..=shape[2]).contains(&dimensions)
    {
        let columns = shape[2];
        return Err(format!(
            "{columns} numbers for each point, expected {dimensions} coordinates, and at least one"
        ));
    }
    Ok(())
}

fn check_labels(labels: &NpyArray, inputs: &NpyArray, layout: ArrayLayout) -> Result<(), String> {
    let (shape, examples) = (&labels.shape, inputs.shape[0]);
    if shape.first() != Some(&examples) {
        let inputs = inputs.path.display();
        return Err(format!(
            "shape {shape:?}, expected {examples} labels, one for each example in {inputs}"
        ));
    }
    let elements: usize = match layout {
        ArrayLayout::Grid { axes } => inputs.shape[1..=axes].iter().product(),
        _ => inputs.shape[1],
    };
    let is_values = labels.element() == Element::Float;
    if is_values && shape.len() <= 2 && labels.stride() > 0 {
        return Ok(());
    }
    if is_values || shape.len() > 1 && labels.stride() != elements {
        let expected = if is_values {
            "[examples, values]".into()
        } else {
            format!("one class, or {elements}, for each example")
        };
        return Err(format!("shape {shape:?}, expected {expected}"));
    }
    Ok(())
}

impl Source for RecordArrays {
    type Example = Record;

    fn len(&self) -> usize {
        self.inputs.shape[0]
    }

    fn example(&self, index: usize, _: &mut ChaCha8Rng) -> Result<Record> {
        let modality = self.modality(index);
        let target = self.target(index, modality.elements()).map_err(|reason| {
            let labels = self.labels.as_ref().unwrap_or(&self.inputs);
            Error::data(&labels.path, format!("the label of example {index} {reason}"))
        })?;
        Ok(Record {
            origin: format!("{}, example {index}", self.inputs.path.display()),
            inputs: vec![(self.name.clone(), modality)],
            target,
        })
    }
}
