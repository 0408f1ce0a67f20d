// Tells points in time in the reader's own time zone; the page itself has them in UTC.

const format = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
});
function tell(place) {
  for (const element of place.querySelectorAll("time[datetime]")) {
    element.title = element.textContent;
    element.textContent = format.format(new Date(element.dateTime));
  }
}

tell(document);
document.addEventListener("seawall:replaced", (event) => tell(event.target));
