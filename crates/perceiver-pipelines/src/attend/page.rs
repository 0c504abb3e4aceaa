//! A self-contained HTML page that shows attention.

use std::fmt::Write as _;
use std::io::Cursor;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::{DynamicImage, ImageFormat};

use super::picture::{Scale, background, colours, heat, level, scale, tiles_across};
use super::{AttendLayer, Attention, AttentionMap, Character, Places};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Number of positions listed below a map.
const LISTED: usize = 10;

impl Attention {
    /// A self-contained HTML page: the maps with a legend, the weight under the pointer, and a list
    /// of the strongest positions of each map. It follows the reader's choice of light or dark.
    #[must_use]
    pub fn page(&self, title: &str) -> String {
        let title = escaped(title);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>Attention: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <header><h1>{title}</h1><p>{}</p></header>\n{}\n<main class=\"tiles\" \
             style=\"--across: {}{}\">\n",
            self.subtitle(),
            self.tools(),
            tiles_across(self.maps.len()),
            self.photo(),
        );
        for map in &self.maps {
            let figure = match &self.places {
                Places::Text(characters) => text(map, characters),
                Places::Image { rows, columns, .. } => photo(map, *rows, *columns),
            };
            let _ = writeln!(
                page,
                "<figure>\n{figure}\n<figcaption>{}; brightest: {}</figcaption>\n{}</figure>",
                self.description(map),
                top(&scale(map)),
                self.list(map)
            );
        }
        let _ = write!(
            page,
            "</main>\n<script type=\"module\">\n{SCRIPT}</script>\n</body>\n</html>\n"
        );
        page
    }

    fn subtitle(&self) -> &'static str {
        match self.layer {
            AttendLayer::Encoder => "Where the latents look: cross-attention of the encoder.",
            AttendLayer::Decoder => {
                "Where the latents look that the outputs attend to: cross-attention of the decoder, \
                 through that of the encoder."
            }
        }
    }

    /// The legend, a slider for the heat, and the weight under the pointer.
    fn tools(&self) -> String {
        let stops = match self.places {
            Places::Text(_) => "transparent, var(--heat)".to_owned(),
            Places::Image { .. } => {
                let colour = |[red, green, blue]: [u8; 3]| format!("rgb({red} {green} {blue})");
                let stops: Vec<_> = colours().into_iter().step_by(15).map(colour).collect();
                stops.join(", ")
            }
        };
        let top = match &self.maps[..] {
            [map] => top(&scale(map)),
            _ => "each map's brightest weight, given below it".to_owned(),
        };
        let opacity = match self.places {
            Places::Text(_) => "",
            Places::Image { .. } => {
                "<label>Photo <input type=\"range\" min=\"0\" max=\"1\" step=\"0.01\" value=\"1\"> \
                 heat</label>"
            }
        };
        format!(
            "<div class=\"tools\"><div class=\"legend\" role=\"img\" aria-label=\"Colours go from \
             no weight to {top}\"><div class=\"bar\" style=\"background: linear-gradient(to right, \
             {stops})\"></div><div class=\"ends\"><span>0</span><span>{top}</span></div></div>\
             {opacity}<output>Point at a place to see its weight.</output></div>"
        )
    }

    /// The photo, shared by all tiles.
    fn photo(&self) -> String {
        let Places::Image { photo, rows, columns } = &self.places else { return String::new() };
        let photo = background(photo, *rows, *columns);
        format!("; --photo: url({})", data_uri(&DynamicImage::from(photo).into_luma8().into()))
    }

    /// The title of a map, such as `latent 17, mean of heads`.
    #[must_use]
    pub fn description(&self, map: &AttentionMap) -> String {
        let head =
            map.head.map_or_else(|| "mean of heads".to_owned(), |head| format!("head {head}"));
        let row = match (self.layer, map.row) {
            (AttendLayer::Encoder, None) => "mean of latents".to_owned(),
            (AttendLayer::Encoder, Some(row)) => format!("latent {row}"),
            (AttendLayer::Decoder, None) => "mean of queries".to_owned(),
            (AttendLayer::Decoder, Some(row)) => format!("query {row}"),
        };
        format!("{row}, {head}")
    }

    fn list(&self, map: &AttentionMap) -> String {
        let mut list = "<details><summary>Strongest places</summary><table><thead><tr>\
                        <th>Weight</th><th>Place</th></tr></thead><tbody>\n"
            .to_owned();
        for (place, weight) in map.strongest(LISTED) {
            let place = escaped(&self.places.name(place));
            let _ = writeln!(list, "<tr><td>{}</td><td>{place}</td></tr>", percent(weight));
        }
        list + "</tbody></table></details>"
    }
}

impl Places {
    /// The name of a position.
    #[must_use]
    pub fn name(&self, place: usize) -> String {
        match self {
            Self::Text(characters) => {
                let Character { text, range } = &characters[place];
                match range {
                    Some(range) => format!("{text:?} at byte {}", range.start),
                    None => text.clone(),
                }
            }
            Self::Image { columns, .. } => {
                format!("row {}, column {}", place / columns, place % columns)
            }
        }
    }
}

fn text(map: &AttentionMap, characters: &[Character]) -> String {
    let Scale { top, .. } = scale(map);
    let mut html = "<p class=\"text\">".to_owned();
    for (Character { text, range }, &weight) in characters.iter().zip(&map.weights) {
        let share = f32::from(level(weight, top)) / 255.0;
        let special = if range.is_none() { " class=\"special\"" } else { "" };
        let name = escaped(&format!("{text:?}: {}", percent(weight)));
        let text = escaped(text);
        let _ =
            write!(html, "<span{special} style=\"--w: {share:.3}\" title=\"{name}\">{text}</span>");
    }
    html + "</p>"
}

fn photo(map: &AttentionMap, rows: usize, columns: usize) -> String {
    let Scale { top, .. } = scale(map);
    let levels: Vec<u8> = map.weights.iter().map(|&weight| level(weight, top)).collect();
    format!(
        "<div class=\"photo\" style=\"aspect-ratio: {columns} / {rows}\" data-rows=\"{rows}\" \
         data-columns=\"{columns}\" data-top=\"{top}\" data-levels=\"{}\"><img alt=\"Heat where \
         the weight is\" src=\"{}\"></div>",
        BASE64_STANDARD.encode(levels),
        data_uri(&heat(map, rows, columns).into())
    )
}

fn top(scale: &Scale) -> String {
    format!("{}{}", percent(scale.top), if scale.exceeded { " and more" } else { "" })
}

/// Three significant digits.
fn percent(weight: f32) -> String {
    let percent = f64::from(weight) * 100.0;
    if percent == 0.0 {
        return "0 %".to_owned();
    }
    let decimals = (2.0 - percent.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{percent:.decimals$} %")
}

fn data_uri(image: &DynamicImage) -> String {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("pictures in memory can be encoded");
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes.into_inner()))
}

/// Escapes text for HTML, also inside an attribute.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            // Forbidden in HTML.
            other if other.is_control() && !"\n\t".contains(other) => html.push('\u{fffd}'),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attention(text: &str) -> Attention {
        let characters: Vec<_> = text
            .char_indices()
            .map(|(at, character)| Character {
                text: character.to_string(),
                range: Some(at..at + character.len_utf8()),
            })
            .collect();
        let weights = vec![1.0 / characters.len() as f32; characters.len()];
        Attention {
            layer: AttendLayer::Encoder,
            places: Places::Text(characters),
            maps: vec![AttentionMap { head: None, row: None, weights }],
        }
    }

    #[test]
    fn a_text_cannot_become_part_of_the_page() {
        let page = attention("<b>&\"").page("<script>alert(1)</script>");
        assert!(page.contains("&lt;script&gt;alert(1)"));
        assert!(page.contains(">&lt;</span>") && page.contains(">&amp;</span>"));
        assert!(!page.contains("<b>") && !page.contains("<script>"));
    }

    #[test]
    fn weights_have_three_digits() {
        assert_eq!(percent(0.5), "50.0 %");
        assert_eq!(percent(0.000_019_93), "0.00199 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.0), "0 %");
    }

    #[test]
    fn a_page_needs_no_other_file() {
        let page = attention("text").page("title");
        assert!(!page.contains("http") && !page.contains("src=\"/"));
    }
}
