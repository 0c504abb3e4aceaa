//! Answers as text, CSV and JSON.

use std::fmt::Write as _;

use perceiver_data::Rows;
use perceiver_train::Answer;
use serde_json::{Map, Value, json};

use crate::output::{csv_field, one_line, table};

type Scored = (String, f32);

/// Lines of comma-separated values, with a header if asked: a line per label, record or element.
pub(super) fn as_csv(name: &str, answer: &Answer, top_k: usize, with_names: bool) -> String {
    let name = csv_field(name);
    let mut lines = String::new();
    let mut add = |fields: String| {
        lines.push_str(&fields);
        lines.push('\n');
    };
    let separated = |fields: Vec<String>| fields.join(",");
    match answer {
        Answer::Class { .. } | Answer::Labels(_) => {
            if with_names {
                add("input,rank,label,score".into());
            }
            for ((label, score), rank) in best(answer, top_k).iter().zip(1..) {
                add(format!("{name},{rank},{},{score}", csv_field(label)));
            }
        }
        Answer::Values(values) => {
            if with_names {
                let names = values.iter().map(|(name, _)| csv_field(name)).collect();
                add(format!("input,{}", separated(names)));
            }
            let numbers = values.iter().map(|(_, value)| value.to_string()).collect();
            add(format!("{name},{}", separated(numbers)));
        }
        Answer::Elements(elements) => {
            if with_names {
                add("input,element,label,score".into());
            }
            for (element, (label, score)) in elements.iter().enumerate() {
                add(format!("{name},{element},{},{score}", csv_field(label)));
            }
        }
        Answer::Reconstruction(rows) => {
            if with_names {
                let names = (0..rows.columns).map(|channel| channel.to_string()).collect();
                add(format!("input,element,{}", separated(names)));
            }
            for (element, row) in elements(rows).enumerate() {
                let numbers = row.iter().map(ToString::to_string).collect();
                add(format!("{name},{element},{}", separated(numbers)));
            }
        }
    }
    lines
}

pub(super) fn as_json(name: &str, answer: &Answer, top_k: usize) -> Value {
    let scored = |(label, score): &Scored| json!({ "label": label, "score": score });
    match answer {
        Answer::Class { .. } | Answer::Labels(_) => {
            let kind = if matches!(answer, Answer::Labels(_)) { "sigmoid" } else { "softmax" };
            let labels: Vec<_> = best(answer, top_k).iter().map(scored).collect();
            json!({ "input": name, "scores": kind, "labels": labels })
        }
        Answer::Values(values) => {
            let values: Map<_, _> =
                values.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            json!({ "input": name, "values": values })
        }
        Answer::Elements(elements) => {
            let elements: Vec<_> = elements.iter().map(scored).collect();
            json!({ "input": name, "elements": elements })
        }
        Answer::Reconstruction(rows) => {
            let rows: Vec<_> = elements(rows).collect();
            json!({ "input": name, "reconstruction": rows })
        }
    }
}

pub(super) fn as_text(name: &str, answer: &Answer, top_k: usize) -> String {
    let percent = |score: f32| format!("{:.2} %", f64::from(score) * 100.0);
    let rows = match answer {
        Answer::Class { .. } | Answer::Labels(_) => {
            let best = best(answer, top_k);
            let rows = best.iter().map(|(label, score)| [percent(*score), one_line(label)]);
            table(&rows.collect::<Vec<_>>())
        }
        Answer::Values(values) => {
            let rows = values.iter().map(|(name, value)| [value.to_string(), one_line(name)]);
            table(&rows.collect::<Vec<_>>())
        }
        Answer::Elements(elements) => {
            let rows = elements.iter().enumerate().map(|(element, (label, score))| {
                [element.to_string(), percent(*score), one_line(label)]
            });
            table(&rows.collect::<Vec<_>>())
        }
        Answer::Reconstruction(rows) => {
            let mut text = String::new();
            for row in elements(rows) {
                let numbers: Vec<_> = row.iter().map(ToString::to_string).collect();
                let _ = writeln!(text, "  {}", numbers.join("  "));
            }
            text
        }
    };
    format!("{}\n{rows}", one_line(name))
}

/// The most probable labels, the best first.
fn best(answer: &Answer, top_k: usize) -> Vec<Scored> {
    let mut labels = match answer {
        Answer::Class { scores, .. } => scores.clone(),
        Answer::Labels(labels) => labels.clone(),
        _ => Vec::new(),
    };
    labels.sort_by(|one, other| other.1.total_cmp(&one.1));
    labels.truncate(top_k);
    labels
}

fn elements(rows: &Rows) -> impl Iterator<Item = &[f32]> {
    rows.values.chunks_exact(rows.columns.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(values: &[(&str, f32)]) -> Vec<Scored> {
        values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn each_kind_of_answer_is_a_table() {
        let labels = Answer::Labels(named(&[("a", 0.25), ("b, c", 0.5), ("d", 0.125)]));
        assert_eq!(
            as_csv("t.csv, line 2", &labels, 2, true),
            "input,rank,label,score\n\"t.csv, line 2\",1,\"b, c\",0.5\n\"t.csv, line 2\",2,a,0.25\n"
        );
        let values = Answer::Values(named(&[("price", 2.5), ("a\"b", -1.0)]));
        assert_eq!(as_csv("x", &values, 1, true), "input,price,\"a\"\"b\"\nx,2.5,-1\n");
        let elements = Answer::Elements(named(&[("tree", 0.75), ("ground", 0.5)]));
        assert_eq!(as_csv("x", &elements, 1, false), "x,0,tree,0.75\nx,1,ground,0.5\n");
        assert_eq!(as_text("x", &elements, 1), "x\n  0  75.00 %  tree\n  1  50.00 %  ground\n");
        let rows = Answer::Reconstruction(Rows::new(2, vec![1.0, 2.0, 3.0, 4.5]));
        assert_eq!(as_csv("x", &rows, 1, true), "input,element,0,1\nx,0,1,2\nx,1,3,4.5\n");
        assert_eq!(
            as_json("x", &rows, 1),
            json!({ "input": "x", "reconstruction": [[1.0, 2.0], [3.0, 4.5]] })
        );
    }
}
