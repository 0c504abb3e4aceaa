//! docs/architecture.svg: the parts of a model and what flows between them.

use std::fmt::Write as _;

use anyhow::Result;
use perceiver_workspace::{replace, root};

const SIZE: (u32, u32) = (1000, 336);

/// Colours: of arrays, of parts with weights, of text.
const ARRAY: &str = "#dbeafe";
const PART: &str = "#fde68a";
const INK: &str = "#1f2937";

/// A box: left, top, width, height, colour and lines of text.
type Block = (u32, u32, u32, u32, &'static str, &'static [&'static str]);

const BLOCKS: [Block; 10] = [
    (20, 40, 96, 136, "none", &["text", "images", "pairs of frames", "video, sound", "your data"]),
    (140, 68, 116, 80, PART, &["Preprocessor", "content and", "positions"]),
    (284, 28, 92, 160, ARRAY, &["token array", "M × C", "", "up to", "hundreds of", "thousands"]),
    (404, 68, 120, 80, PART, &["Encoder", "cross-attention", "to the tokens"]),
    (404, 226, 120, 64, ARRAY, &["latents", "N × D", "N ≪ M"]),
    (548, 68, 120, 80, PART, &["Encoder", "self-attention", "over N latents"]),
    (692, 68, 120, 80, PART, &["Decoder", "cross-attention", "to the latents"]),
    (692, 226, 120, 64, ARRAY, &["output queries", "O × E"]),
    (836, 68, 144, 36, PART, &["Postprocessor"]),
    (836, 140, 144, 64, "none", &["logits, flow,", "video, features"]),
];

/// An arrow: its start, its end and a label.
type Arrow = ((u32, u32), (u32, u32), &'static str);

const ARROWS: [Arrow; 9] = [
    ((116, 108), (136, 108), ""),
    ((256, 108), (280, 108), ""),
    ((376, 108), (400, 108), ""),
    ((464, 226), (464, 152), "queries"),
    ((524, 108), (544, 108), ""),
    ((668, 108), (688, 108), ""),
    ((752, 226), (752, 152), "queries"),
    ((812, 86), (832, 86), ""),
    ((908, 104), (908, 140), ""),
];

/// Braces below the figure: left, right and text.
const SPANS: [(u32, u32, &str); 2] = [
    (140, 668, "encode: cost grows with M · N, once for each input"),
    (692, 980, "decode: any queries, again and again"),
];

/// Draws every figure of the documents.
pub(crate) fn figures() -> Result<()> {
    replace(&root().join("docs/architecture.svg"), &architecture())
}

fn architecture() -> String {
    let (width, height) = SIZE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" text-anchor=\"middle\" \
         fill=\"{INK}\">\n\
         <title>Perceiver IO: inputs are read into latents, which output queries read</title>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\"/></marker></defs>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"10\" fill=\"#ffffff\"/>\n"
    );
    for block in BLOCKS {
        draw_block(&mut svg, block);
    }
    for ((x1, y1), (x2, y2), label) in ARROWS {
        line(&mut svg, &format!("M{x1} {y1} {x2} {y2}"), " marker-end=\"url(#tip)\"");
        if !label.is_empty() {
            text(&mut svg, x1 + 30, y1.midpoint(y2) + 4, label, " font-style=\"italic\"");
        }
    }
    for (left, right, label) in SPANS {
        line(&mut svg, &format!("M{left} 302v6H{right}v-6"), "");
        text(&mut svg, left.midpoint(right), 325, label, "");
    }
    svg + "</svg>\n"
}

fn draw_block(svg: &mut String, (x, y, width, height, colour, lines): Block) {
    const LEADING: u32 = 18;
    if colour != "none" {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" \
             fill=\"{colour}\" stroke=\"{INK}\" stroke-opacity=\"0.35\"/>"
        );
    }
    let top = y + height / 2 + 5 - (lines.len() as u32 - 1) * LEADING / 2;
    for (baseline, line) in (top..).step_by(LEADING as usize).zip(lines) {
        let is_title = colour != "none" && *line == lines[0];
        let style = if is_title { " font-weight=\"bold\"" } else { "" };
        text(svg, x + width / 2, baseline, line, style);
    }
}

fn line(svg: &mut String, path: &str, more: &str) {
    let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{INK}\"{more}/>");
}

fn text(svg: &mut String, x: u32, y: u32, text: &str, style: &str) {
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\"{style}>{text}</text>");
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_committed_figure_is_the_one_that_the_command_draws() {
        let committed = std::fs::read_to_string(root().join("docs/architecture.svg")).unwrap();
        assert_eq!(committed, architecture());
    }
}
