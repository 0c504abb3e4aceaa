#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use perceiver_data::Error;
use rand::RngExt;

use super::*;

/// Examples that are their own numbers, with a number drawn.
struct Numbers {
    count: usize,
    unreadable: fn(usize) -> bool,
}

impl Source for Numbers {
    type Example = (usize, u32);

    fn len(&self) -> usize {
        self.count
    }

    fn example(
        &self,
        index: usize,
        random: &mut ChaCha8Rng,
    ) -> perceiver_data::Result<(usize, u32)> {
        if (self.unreadable)(index) {
            return Err(Error::Io {
                path: format!("{index}.png").into(),
                action: "read",
                source: io::ErrorKind::NotFound.into(),
            });
        }
        Ok((index, random.random()))
    }
}

/// Batches that are their examples.
struct Together;

impl<E> Collate<E> for Together {
    type Batch = Vec<E>;

    fn batch(&self, examples: Vec<E>, _: &mut ChaCha8Rng, _: &Device) -> Vec<E> {
        examples
    }
}

const ALL: Numbers = Numbers { count: 7, unreadable: |_| false };

fn taken(loader: &Loader<Numbers, Together>) -> Vec<Vec<(usize, u32)>> {
    loader.iter().map(|batch| batch.unwrap()).collect()
}

/// A run of so many batches in passes of so many, from one of them on.
fn passes(
    loader: &Loader<Numbers, Together>,
    start: usize,
    [end, batches]: [usize; 2],
) -> Loader<Numbers, Together> {
    loader.with_passes(Passes { start, batches, end }, &Device::flex())
}

fn training(workers: usize) -> Loader<Numbers, Together> {
    let loader = LoaderBuilder::new(Together).batch_size(3).shuffle(5).workers(workers);
    passes(&loader.build(ALL), 0, [9, 4])
}

#[test]
fn batches_do_not_depend_on_the_number_of_workers() {
    assert_eq!(taken(&training(1)), taken(&training(3)));
}

#[test]
fn every_example_comes_once_before_one_comes_again() {
    let loader = training(2);
    let batches: Vec<_> = (0..3).flat_map(|_| taken(&loader)).collect();
    let mut first: Vec<_> = batches.concat().into_iter().take(7).map(|(index, _)| index).collect();
    first.sort_unstable();
    assert_eq!(first, (0..7).collect::<Vec<_>>());
}

#[test]
fn every_epoch_has_an_order_of_its_own() {
    let loader = training(2);
    let batches: Vec<_> = (0..3).flat_map(|_| taken(&loader)).collect();
    let order: Vec<_> = batches.concat().into_iter().map(|(index, _)| index).collect();
    let epochs: Vec<_> = order.chunks_exact(7).collect();
    for epoch in &epochs {
        assert!((0..7).all(|example| epoch.contains(&example)), "{epoch:?}");
    }
    // Three random orders of seven are the same once in 25 million.
    assert!(epochs.len() == 3 && epochs[1..].iter().any(|epoch| *epoch != epochs[0]), "{epochs:?}");
}

#[test]
fn passes_end_at_multiples_of_their_length_and_at_the_last_step() {
    let loader = training(2);
    let lengths: Vec<_> = (0..4).map(|_| taken(&loader).len()).collect();
    assert_eq!(lengths, [4, 4, 1, 0]);
}

#[test]
fn a_later_start_gives_the_batches_that_a_whole_run_gives_there() {
    let whole = training(2);
    let batches = [taken(&whole), taken(&whole)].concat();
    let resumed = passes(&training(2), 2, [9, 4]);
    assert_eq!(taken(&resumed), batches[2..4]);
    assert_eq!(taken(&resumed), batches[4..8]);
}

#[test]
fn the_next_iterator_continues_one_that_was_dropped_early() {
    let whole = taken(&training(1));
    let loader = training(2);
    drop(loader.iter().next());
    assert_eq!(taken(&loader), whole[1..]);
}

#[test]
fn validation_is_every_example_in_order_in_every_pass() {
    let loader = LoaderBuilder::new(Together).batch_size(3).workers(2).build(ALL);
    let order = |batches: Vec<Vec<(usize, u32)>>| -> Vec<usize> {
        batches.concat().into_iter().map(|(index, _)| index).collect()
    };
    assert_eq!(order(taken(&loader)), (0..7).collect::<Vec<_>>());
    assert_eq!(order(taken(&loader)), (0..7).collect::<Vec<_>>());
}

#[test]
fn two_devices_share_the_batches_of_one() {
    let whole = taken(&training(1));
    let loader = training(1);
    let items = loader.num_items();
    let parts = [loader.slice(0, items / 2), loader.slice(items / 2, items)];
    let [first, second] = parts.map(|part| part.iter().map(|b| b.unwrap()).collect::<Vec<_>>());
    assert_eq!([&first[0], &second[0], &first[1], &second[1]], [0, 1, 2, 3].map(|k| &whole[k]));
}

#[test]
fn unreadable_examples_are_skipped_counted_and_named() {
    let source = Numbers { count: 4, unreadable: |index| index % 2 == 1 };
    let loader = LoaderBuilder::new(Together).batch_size(4).build(source);
    let read: Vec<_> = taken(&loader).concat().into_iter().map(|(index, _)| index).collect();
    assert_eq!(read, [0, 2]);
    let skipped = loader.skipped();
    assert_eq!(skipped.count, 2);
    assert!(skipped.reasons[0].starts_with("1.png: cannot read"), "{}", skipped.reasons[0]);
}

/// Of 5040 orders, four epochs draw the same with a probability below 0.2 %; the seed is fixed.
#[test]
fn each_epoch_has_an_order_of_its_own() {
    let loader = LoaderBuilder::new(Together).batch_size(7).shuffle(5).build(ALL);
    let epochs: Vec<Vec<usize>> = passes(&loader, 0, [4, 4])
        .iter()
        .map(|batch| batch.unwrap().into_iter().map(|(index, _)| index).collect())
        .collect();
    let orders: BTreeSet<_> = epochs.iter().collect();
    assert_eq!(orders.len(), 4, "{epochs:?}");
}

#[test]
fn an_unreadable_example_counts_once_however_often_it_is_met() {
    let source = Numbers { count: 4, unreadable: |index| index == 1 };
    let loader = LoaderBuilder::new(Together).batch_size(2).shuffle(5).build(source);
    for _ in 0..3 {
        taken(&loader);
    }
    assert_eq!((loader.skipped().count, loader.skipped().reasons.len()), (1, 1));
    loader.forget_skipped();
    assert_eq!((loader.skipped().count, loader.skipped().reasons.len()), (0, 0));
}

#[test]
fn a_validation_skips_batches_without_a_readable_example() {
    let source = Numbers { count: 5, unreadable: |index| index != 2 };
    let loader = LoaderBuilder::new(Together).workers(2).build(source);
    for _ in 0..2 {
        let read: Vec<_> = taken(&loader).concat().into_iter().map(|(index, _)| index).collect();
        assert_eq!(read, [2]);
    }
}

/// A run counts its steps in batches and resumes at a step.
#[test]
fn training_has_as_many_batches_whatever_can_be_read_and_the_same_after_a_later_start() {
    let loader = |workers, start| {
        let source = Numbers { count: 7, unreadable: |index| index != 3 };
        let loader = LoaderBuilder::new(Together).shuffle(5).workers(workers).build(source);
        passes(&loader, start, [9, 9])
    };
    let whole = taken(&loader(1, 0));
    assert_eq!(whole.len(), 9);
    assert!(whole.concat().iter().all(|(index, _)| *index == 3), "{whole:?}");
    assert_eq!(taken(&loader(3, 0)), whole);
    assert_eq!(taken(&loader(2, 4)), whole[4..]);
}

#[test]
fn where_no_example_can_be_read_one_error_tells_the_first_reason() {
    let loaders: [Loader<Numbers, Together>; 2] = [true, false].map(|training| {
        let source = Numbers { count: 3, unreadable: |_| true };
        let loader = LoaderBuilder::new(Together).batch_size(2);
        if training { loader.shuffle(5).build(source) } else { loader.build(source) }
    });
    for loader in loaders {
        let batches: Vec<_> = loader.iter().collect();
        assert_eq!(batches.len(), 1);
        let error = batches[0].as_ref().unwrap_err().to_string();
        assert!(error.starts_with("no example could be read: "), "{error}");
        assert!(error.contains(".png: cannot read"), "{error}");
    }
}

#[test]
fn a_thread_that_panics_ends_the_pass_in_an_error() {
    let source = Numbers { count: 7, unreadable: |index| panic!("example {index}") };
    let loader = LoaderBuilder::new(Together).shuffle(5).workers(2).batches_per_pass(4);
    let loader = loader.build(source);
    let batches: Vec<_> = loader.iter().collect();
    assert_eq!(batches.len(), 1);
    let error = batches[0].as_ref().unwrap_err().to_string();
    assert!(error.contains("panicked after 0 of 4 batches"), "{error}");

    let source = Numbers { count: 4, unreadable: |index| index == 3 && panic!("the last") };
    let loader = LoaderBuilder::new(Together).build(source);
    let batches: Vec<_> = loader.iter().collect();
    assert_eq!(batches.len(), 4);
    assert!(batches[3].is_err() && batches[..3].iter().all(Result::is_ok));
}

#[test]
fn examples_of_a_validation_are_drawn_by_their_places() {
    let loader = LoaderBuilder::new(Together).batch_size(2).build(ALL);
    let validated: Vec<_> = taken(&loader).into_iter().flatten().collect();
    let expected = (0..ALL.count).map(|place| (place, validation_random(place).random()));
    assert_eq!(validated, expected.collect::<Vec<(usize, u32)>>());
}
