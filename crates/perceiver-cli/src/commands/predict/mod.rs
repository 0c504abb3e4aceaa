use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use perceiver_data::{Record, Source};
use perceiver_pipelines::Progress;
use perceiver_train::{Answer, Predictor, validation_random};

use super::Context;
use crate::args::HubArguments;
use crate::batch::Batch;
use crate::output::path_text;
use crate::paths::expand_patterns;

mod answer;
mod files;

const EXAMPLES: &str = "\
Examples:
  perceiver predict ./letters new.csv
  perceiver predict ./letters new.csv --ignore letter --csv -k 1
  perceiver predict ./vowels JapaneseVowels_TEST.ts --csv -k 1
  perceiver predict ./gestures new.csv --id take --time seconds
  perceiver predict ./prices 'months/*.csv' --json
  perceiver predict ./vowels new.npy

A file, row or series that cannot be read, or that does not fit the model, does not stop the others: it gets a
line on stderr, and the exit code is 1.";

/// Answer raw data with a model for any data: classes, numbers, a class per element
///
/// The model keeps the means, scales and categories that it was trained with, so files hold raw data, and
/// numbers are answered in the units of the data.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PredictArguments {
    /// Model for any data: a folder or a hub id
    #[arg(value_name = "MODEL")]
    model: OsString,
    /// Files or patterns: *.npy, *.csv or *.tsv, the last two also gzipped
    ///
    /// An array has a record per entry of its first axis. A model of tables answers each row. A model of series
    /// answers each series of a table in long form, with a row per time step and the channels in the order of
    /// the training data, or of a *.ts file.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    columns: files::ColumnArguments,
    /// Number of labels to show
    #[arg(short = 'k', long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    top_k: usize,
    /// Print comma-separated values: one line per label, record of numbers, or element
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Number of records that go through the model at once
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    batch: usize,
    #[command(flatten)]
    hub: HubArguments,
}

pub(crate) fn run(arguments: &PredictArguments, context: &Context) -> Result<()> {
    let paths = expand_patterns(&arguments.files)?;
    let device = context.open_device()?;
    let folder = arguments.hub.folder(&arguments.model)?;
    let start = Instant::now();
    let predictor = Predictor::open(folder, &device.device)?;
    context.output.warnings(&predictor.warnings());

    let modality = files::only_modality(&predictor)?;
    let open = |path: &PathBuf| files::open(path, modality, &arguments.columns);
    let files: Vec<_> = paths.iter().map(|path| (path, open(path))).collect();
    let records = |file: &Result<Box<dyn Source<Example = Record>>>| {
        file.as_ref().map_or(1, |source| source.len())
    };
    let total = files.iter().map(|(_, file)| records(file)).sum();
    let mut work = Work {
        arguments,
        context,
        predictor: &predictor,
        batch: Batch::new(total),
        is_first: true,
    };
    let mut bar = context.output.progress("predict", "records");
    let mut done = 0;
    for (path, file) in files {
        let name = path_text(path);
        let source = match file {
            Ok(source) => source,
            Err(error) => {
                work.batch.run(&name, || Err(error))?;
                done += 1;
                continue;
            }
        };
        let mut next = 0;
        while next < source.len() {
            bar.at(Progress { done, total });
            let end = source.len().min(next + arguments.batch);
            work.answer(&*source, next..end, &name)?;
            done += end - next;
            next = end;
        }
    }
    drop(bar);
    context.note_device(&device, start);
    work.batch.finish()
}

/// The answering of all records.
struct Work<'a> {
    arguments: &'a PredictArguments,
    context: &'a Context,
    predictor: &'a Predictor,
    batch: Batch,
    is_first: bool,
}

impl Work<'_> {
    /// Answers some records of a file at once. Those that cannot be read or do not fit are left out.
    fn answer(
        &mut self,
        source: &dyn Source<Example = Record>,
        range: std::ops::Range<usize>,
        file: &str,
    ) -> Result<()> {
        let mut records = Vec::new();
        let read = |index| {
            let record = source.example(index, &mut validation_random(index));
            record.map(|record| records.push(record))
        };
        let read: Vec<_> = range.map(read).collect();
        let mut answers = records.iter().zip(self.predictor.predict(&records));
        for read in read {
            match read.map(|()| answers.next()) {
                Ok(Some((record, Ok(answer)))) => self.print(record, &answer)?,
                Ok(Some((record, Err(error)))) => {
                    self.batch.run(&record.origin, || Err(error.into()))?;
                }
                Ok(None) => {}
                Err(error) => self.batch.run(file, || Err(error.into()))?,
            }
        }
        Ok(())
    }

    fn print(&mut self, record: &Record, answer: &Answer) -> Result<()> {
        let (name, top_k) = (&record.origin, self.arguments.top_k);
        let text = if self.arguments.csv {
            answer::as_csv(name, answer, top_k, self.is_first)
        } else {
            answer::as_text(name, answer, top_k)
        };
        self.is_first = false;
        self.context.output.result(answer::as_json(name, answer, top_k), &text)?;
        Ok(())
    }
}
