// The name of who changes something, for audit entries; remembered in this browser.

export const myName = () => localStorage.getItem("name") ?? "";
export const rememberName = (name) => localStorage.setItem("name", name);
