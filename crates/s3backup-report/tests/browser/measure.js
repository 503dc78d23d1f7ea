(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const rgb = (text) => (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = (element) => {
    const style = getComputedStyle(element);
    const ink = rgb(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(element))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const texts = all("body *").filter((element) => hasText(element) && element.checkVisibility() && !element.closest(".vh, title"));
  const contrasts = texts.map((element) => [contrast(element), element.outerHTML.slice(0, 120)]);
  const levels = all("h1, h2, h3, h4").map((heading) => Number(heading.tagName[1]));
  const ids = all("[id]").map((element) => element.id);
  return {
    title: document.title,
    inner_width: innerWidth,
    scroll_width: document.documentElement.scrollWidth,
    is_dark: light(behind(document.body)) < 0.2,
    landmarks: Object.fromEntries(["header", "nav", "main", "footer"].map((name) => [name, all(`body > ${name}`).length])),
    sections: all("section[aria-labelledby]").filter((section) => document.getElementById(section.getAttribute("aria-labelledby"))).length,
    skipped_headings: levels.filter((level, index) => level > (levels[index - 1] ?? 0) + 1),
    cells_without_headers: all("th:not([scope])").map((cell) => cell.outerHTML),
    unnamed_pictures: all("svg").filter((svg) => svg.getAttribute("role") !== "img" || !svg.getAttribute("aria-label")).length ? ["svg"] : [],
    repeated_ids: ids.filter((id, index) => ids.indexOf(id) !== index),
    scripts: all("script, [style], [onerror], img, link[rel=stylesheet]").map((element) => element.outerHTML),
    faint: contrasts.filter(([ratio]) => ratio < 4.5).map(([ratio, html]) => `${ratio.toFixed(2)} ${html}`),
    least_contrast: Math.min(...contrasts.map(([ratio]) => ratio)),
  };
})()
