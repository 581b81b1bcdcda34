// The chart library: a large file that the page does without until a chart is drawn.

import { $ } from "../dom.js";
import { currentLanguage } from "../i18n.js";

let loading = null;

// Give the library, fetched when it is asked for first. A failed fetch may be tried again.
export function library() {
  loading ??= fetched().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

function fetched() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = $('meta[name="bq-library"]').content;
    script.addEventListener("load", () => {
      window.Plotly.register(chinese());
      resolve(window.Plotly);
    });
    script.addEventListener("error", () => {
      script.remove();
      reject(new Error("the chart library could not be fetched"));
    });
    document.head.append(script);
  });
}

export const chartLocale = () => (currentLanguage() === "zh" ? "zh-CN" : "en-US");

// The names of days and months, which the library has in English only.
function chinese() {
  const named = (count, options, dateOf) =>
    Array.from({ length: count }, (_, i) => new Intl.DateTimeFormat("zh-CN", { timeZone: "UTC", ...options }).format(dateOf(i)));
  const day = (i) => Date.UTC(2023, 0, 1 + i); // a Sunday
  const month = (i) => Date.UTC(2023, i, 1);
  return {
    moduleType: "locale",
    name: "zh-CN",
    dictionary: { Autoscale: "自动缩放", "Reset axes": "重置坐标轴", "Download plot as a PNG": "下载为 PNG 图片" },
    format: {
      days: named(7, { weekday: "long" }, day),
      shortDays: named(7, { weekday: "short" }, day),
      months: named(12, { month: "long" }, month),
      shortMonths: named(12, { month: "short" }, month),
      date: "%Y-%m-%d",
    },
  };
}
